"""One feed's page: its value, its past, its health, and how to read it from elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, FilteredRelation, Q, QuerySet
from django.db.models.functions import Length, Substr
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from realtime.errors import NotFound
from realtime.feeds.access import Principal
from realtime.feeds.catalog import FeedRef, find_readable
from realtime.feeds.demand import Opening, name_with, opener_of
from realtime.feeds.models import Feed, JournalEntry
from realtime.feeds.publication import state_of, timestamp
from realtime.feeds.runtime import Feeds

from ..look import HealthLook, Look, health_look, look_of, look_of_nothing, pretty
from ..snippets import snippets
from .page import page, session_of, viewer

HISTORY_ROWS = 20
CELL_CHARACTERS = 160
PRETTY_BYTES = 200_000  # a longer value is a download, not something to read


@dataclass(frozen=True, slots=True)
class Past:
    """One row of the history: a publication's place, moment and the beginning of its JSON."""

    offset: int
    published_at: str
    moment: datetime
    text: str


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A feed with its value as words (`look`) or as indented JSON (`json`), and one page of its history."""

    ref: FeedRef
    epoch: str
    offset: int
    look: Look
    json: str
    health: HealthLook
    source: str
    past: tuple[Past, ...]
    before: int | None
    older: int | None


@page
async def feed(request: HttpRequest, slug: str) -> HttpResponse:
    """`/feeds/<slug>/`: `?before=<offset>` leafs back in the history.

    A live query's page is at its one true name; other spellings, and parameters in the address, lead there.
    """
    before = request.GET.get("before", "")
    opened = None
    if opener_of(slug) is not None:
        opened = await _open(request, slug)
        if opened.slug != slug:
            return redirect("feed", opened.slug)
    me, found = await Feeds.current().database.read(
        read_feed,
        session_of(request),
        slug,
        int(before) if before.isdecimal() and len(before) < 19 else None,
        opened,
    )
    base = f"{request.scheme}://{request.get_host()}"
    lines = snippets(base, slug, public=found.ref.public)
    return render(request, "feed.html", {"me": me, "feed": found, "snippets": lines})


async def _open(request: HttpRequest, name: str) -> FeedRef:
    feeds = Feeds.current()
    me = await feeds.database.read(viewer, session_of(request))
    pairs = [(key, value) for key, values in request.GET.lists() for value in values if key != "before"]
    return await Opening.of(feeds).open(name_with(name, pairs), me)


def read_feed(
    session_key: str, slug: str, before: int | None, opened: FeedRef | None = None
) -> tuple[Principal, FeedPage]:
    """Sync, one unit of work: at most five queries. NotFound for what the viewer may not read.

    opened   the feed, where it was opened for the viewer
    """
    me = viewer(session_key)
    ref = opened or find_readable(slug, me)
    row = (
        Feed.objects.filter(pk=ref.id)
        .annotate(newest=FilteredRelation("entries", condition=Q(entries__offset=F("offset"))))
        .values(
            *("epoch", "offset", "state", "last_ok_at", "next_poll_at", "error"),
            *("newest__data", "extraction__source__slug"),
        )
        .first()
    )
    if row is None:
        raise NotFound("This feed was deleted a moment ago.", field="slug")
    data = row["newest__data"]
    look, text = _value(data)
    entries = JournalEntry.objects.filter(feed_id=ref.id)
    if before is not None:
        entries = entries.filter(offset__lt=before)
    past = _past(entries.order_by("-offset")[: HISTORY_ROWS + 1])
    return me, FeedPage(
        ref=ref,
        epoch=row["epoch"],
        offset=row["offset"],
        look=look,
        json=text,
        health=health_look(
            state_of(row["state"]), row["last_ok_at"], row["next_poll_at"], row["error"], timezone.now()
        ),
        source=(row["extraction__source__slug"] or "") if me.may_manage else "",
        past=past[:HISTORY_ROWS],
        before=before,
        older=past[HISTORY_ROWS - 1].offset if len(past) > HISTORY_ROWS else None,
    )


def _value(data: str | None) -> tuple[Look, str]:
    if data is None:
        return look_of_nothing(0), ""
    if len(data) > PRETTY_BYTES:
        return look_of_nothing(len(data)), ""
    value = json.loads(data)
    return look_of(value), pretty(value) if isinstance(value, dict | list) else ""


def _past(entries: QuerySet[JournalEntry]) -> tuple[Past, ...]:
    rows = entries.annotate(length=Length("data"), beginning=Substr("data", 1, CELL_CHARACTERS)).values_list(
        "offset", "published_at", "beginning", "length"
    )
    return tuple(
        Past(offset, timestamp(at) or "", at, text + ("…" if length > CELL_CHARACTERS else ""))
        for offset, at, text, length in rows
    )
