"""The first paint of a query's block: as the journal has it, or evaluated for this one page.

Sync, for templates, in whatever thread renders them. Nothing is written: that somebody watches is said by the
page, once it does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.db.models import F, FilteredRelation, Q, QuerySet
from django.utils import timezone

from realtime.conf import conf
from realtime.errors import HeadwaterError, QueryFailed, TooLarge
from realtime.feeds.access import Principal
from realtime.feeds.demand import opener_of
from realtime.feeds.models import Feed
from realtime.feeds.position import Position

from .evaluation import evaluate
from .names import read_name, unknown


@dataclass(frozen=True, slots=True)
class Painted:
    """A block as it is now.

    slug      the feed that has it from now on
    html      empty: there is none
    epoch     with `offset`, the position that the HTML stands for; empty: none, it was painted for this page
    state     of the feed
    problem   why the HTML is not there, or not the newest; empty: nothing is wrong
    """

    slug: str
    html: str
    epoch: str = ""
    offset: int = 0
    state: str = "fresh"
    problem: str = ""


def first_paint(name: str, principal: Principal) -> Painted:
    """The block of that name for somebody who may see it.

    Raises NotFound for others, and BadInput naming a parameter.
    """
    opener = opener_of(name)
    if opener is None:
        raise unknown()
    slug = opener.resolve(name, principal).slug
    block = read_name(slug).block
    kept = _kept(slug)
    if kept is not None:
        return kept
    try:
        html = evaluate(slug, [block], limit_s=conf().query_limit_s).painted[block]
    except (QueryFailed, TooLarge) as error:
        html = error
    if isinstance(html, HeadwaterError):
        return Painted(slug, "", state="failing", problem=html.message)
    return Painted(slug, json.loads(html))


def position_of(slug: str) -> Position | None:
    """Where the feed of that name stands, if some engine keeps it true.

    Looked up before anything else that a page shows, it never promises a change that is not on the page yet.
    """
    row = _kept_feeds(slug).values_list("epoch", "offset").first()
    return Position(*row) if row else None


def _kept_feeds(slug: str) -> QuerySet[Feed]:
    return Feed.objects.filter(slug=slug, demand__kept=True, demand__claimed_until__gt=timezone.now())


def _kept(slug: str) -> Painted | None:
    """As the journal has it, if some engine keeps it true."""
    row = (
        _kept_feeds(slug)
        .annotate(newest=FilteredRelation("entries", condition=Q(entries__offset=F("offset"))))
        .values_list("newest__data", "epoch", "offset", "state", "error")
        .first()
    )
    if row is None or row[0] is None:
        return None
    data, epoch, offset, state, error = row
    return Painted(slug, json.loads(data), epoch, offset, state, "" if state == "fresh" else error)
