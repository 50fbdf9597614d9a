"""The board: every feed that the viewer may read, a tile each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, F, FilteredRelation, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Length
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from realtime.feeds.access import Principal
from realtime.feeds.board import TILES_PER_PAGE, on_the_board
from realtime.feeds.models import Feed, JournalEntry
from realtime.feeds.position import Position
from realtime.feeds.publication import state_of
from realtime.feeds.runtime import Feeds
from realtime.queries.names import read_name, spelled
from realtime.queries.painting import position_of

from ..look import LARGE_BYTES, HealthLook, Look, Spark, health_look, look_of, look_of_nothing, spark_of
from .page import page, page_number, search_text, session_of, viewer

SPARK_POINTS = 60
NUMBER_CHARACTERS = 40  # of JSON; nothing longer is read for a sparkline


@dataclass(frozen=True, slots=True)
class Tile:
    """One feed on the board: its value's look, its health, and the position that both stand for."""

    slug: str
    title: str
    public: bool
    epoch: str
    offset: int
    look: Look
    health: HealthLook
    spark: Spark | None

    @property
    def words(self) -> str:
        """What the filter box searches in the browser."""
        return f"{self.title} {self.slug}".lower()


@dataclass(frozen=True, slots=True)
class Board:
    """One page of tiles, `total` over all of them, for the filter `text`.

    scope   of the live queries that know which feeds are on it: "all", or "public"
    feeds   the live query that tells which tiles there are, and in which order
    since   where it stood before the tiles were read, if it is kept
    """

    tiles: tuple[Tile, ...]
    total: int
    number: int
    pages: int
    text: str
    scope: str
    feeds: str
    since: Position | None


NEW_TILE = Tile("", "", True, "", 0, look_of_nothing(0), HealthLook("fresh", "", "", "", "", ""), None)


@page
async def board(request: HttpRequest) -> HttpResponse:
    """`/`: `?q=` filters by title and name, `?page=` leafs; a page has what one connection may watch."""
    text, number = search_text(request), page_number(request.GET.get("page"))
    # Two hundred tiles take 25 ms: too long for the loop, which has sockets to serve.
    return await Feeds.current().database.read(render_board, request, text, number)


def render_board(request: HttpRequest, text: str, number: int) -> HttpResponse:
    """Sync, one unit of work: the live block on it reads as well."""
    me, found = read_board(session_of(request), text, number)
    request.principal = me  # type: ignore[attr-defined]
    context = {"me": me, "board": found, "new": NEW_TILE, "here": "board"}
    return render(request, "board.html", context)


def read_board(session_key: str, text: str, number: int) -> tuple[Principal, Board]:
    """Sync: at most six queries, however many feeds."""
    me = viewer(session_key)
    private = me.may_read(public=False)
    scope = "all" if private else "public"
    feeds = on_the_board(private=private, search=text)
    total, size = feeds.count(), TILES_PER_PAGE
    pages = max(1, -(-total // size))
    number = min(number, pages)
    live = read_name(spelled("feeds", {"scope": scope, "search": text, "page": number})).slug
    since = position_of(live)
    rows = list(_with_values(feeds)[(number - 1) * size : number * size])
    values = {row["pk"]: json.loads(row["value"]) for row in rows if row["value"]}
    numeric = [pk for pk, value in values.items() if is_number(value)]
    past = _past(numeric) if numeric else {}
    now = timezone.now()
    tiles = tuple(_tile(row, values, past, now) for row in rows)
    return me, Board(tiles, total, number, pages, text, scope, live, since)


def is_number(value: object) -> bool:
    """Whether a value can be drawn: a number that a double holds, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _with_values(feeds: QuerySet[Feed]) -> QuerySet[Any, Any]:
    """Each feed with its newest value, unless that is too large for a tile, as dictionaries."""
    found: QuerySet[Any, Any] = feeds.annotate(
        newest=FilteredRelation("entries", condition=Q(entries__offset=F("offset"))),
        size=Length("newest__data"),
        value=Case(
            When(size__lte=LARGE_BYTES, then="newest__data"), default=Value(""), output_field=TextField()
        ),
    ).values(
        *("pk", "slug", "title", "public", "epoch", "offset", "size", "value"),
        *("state", "last_ok_at", "next_poll_at", "error"),
    )
    return found


def _past(feed_ids: list[int]) -> dict[int, list[tuple[datetime, float]]]:
    """The newest numbers of each feed, oldest first. One query, by the index on offsets."""
    entries = (
        JournalEntry.objects.filter(feed_id__in=feed_ids, offset__gt=F("feed__offset") - SPARK_POINTS)
        .annotate(size=Length("data"))
        .filter(size__lte=NUMBER_CHARACTERS)
        .order_by("feed_id", "offset")
        .values_list("feed_id", "published_at", "data")
    )
    past: dict[int, list[tuple[datetime, float]]] = {}
    for feed_id, at, data in entries:
        value = json.loads(data)
        if is_number(value):
            past.setdefault(feed_id, []).append((at, value))
    return past


def _tile(
    row: dict[str, Any], values: dict[int, Any], past: dict[int, list[tuple[datetime, float]]], now: datetime
) -> Tile:
    pk = row["pk"]
    return Tile(
        slug=row["slug"],
        title=row["title"],
        public=row["public"],
        epoch=row["epoch"],
        offset=row["offset"],
        look=look_of(values[pk]) if pk in values else look_of_nothing(row["size"] or 0),
        health=health_look(state_of(row["state"]), row["last_ok_at"], row["next_poll_at"], row["error"], now),
        spark=spark_of(past[pk]) if pk in past else None,
    )
