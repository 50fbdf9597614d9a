"""The rows of feeds that are opened on demand: made when they are first wanted, and wanted again.

Sync functions, each one unit of work for `Database.read` or `Database.write`, and a handful of queries
however many feeds there are. Who may want what is for `demand` to say.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from realtime.conf import conf
from realtime.errors import Unavailable

from .catalog import FeedRef, ref_of
from .checks import TITLE_LIMIT
from .models import Demand, Feed

if TYPE_CHECKING:
    from .demand import Opened

# Who comes back wants the newest value; the ones before it are for the history, and for who missed little.
RETAINED_COUNT = 100
RETAINED_AGE_S = 300.0


@dataclass(frozen=True, slots=True)
class Standing:
    """A feed's row, and how its demand is met.

    filled   since it was claimed, with a value or with the news that it fails
    """

    feed: FeedRef
    base: str
    wanted_until: datetime
    claimed_until: datetime | None
    filled: bool

    def claimed(self, now: datetime) -> bool:
        """Whether an engine fills it."""
        return self.claimed_until is not None and self.claimed_until > now

    def kept(self, now: datetime) -> bool:
        """Whether its value is the present one."""
        return self.filled and self.claimed(now)

    def tells(self, opened: Opened) -> bool:
        """Whether the rows say what the opener says."""
        said = opened.base, opened.title[:TITLE_LIMIT], opened.public
        return (self.base, self.feed.title, self.feed.public) == said


def want(asked: Collection[Opened], until: datetime, now: datetime) -> dict[Opened, Standing | Unavailable]:
    """Make rows for what is asked for where there are none, and want all of it until then.

    Left out is what another kind of feed has the name of. Unavailable is what nobody wants yet, when as many
    are wanted now as may be: whoever makes up parameters cannot keep engines busy without end.
    """
    by_slug = {opened.slug: opened for opened in asked}
    with transaction.atomic():
        known = set(Feed.objects.filter(slug__in=by_slug).values_list("slug", flat=True))
        wanted = Demand.objects.filter(wanted_until__gt=now)
        others = by_slug.keys() - set(
            wanted.filter(feed__slug__in=by_slug).values_list("feed__slug", flat=True)
        )
        room = max(0, conf().queries_at_once - wanted.count()) if others else 0
        refused = sorted(others)[room:]
        for slug in refused:
            del by_slug[slug]
        # All in one order, so that processes that open the same feeds cannot deadlock.
        new = [_new_feed(by_slug[slug]) for slug in sorted(by_slug.keys() - known)]
        Feed.objects.bulk_create(new, ignore_conflicts=True)
        # Under the rows' locks: whoever deletes what is not wanted has seen this, or has deleted it before.
        locked = Feed.objects.select_for_update().filter(slug__in=by_slug, kind=Feed.Kind.QUERY)
        feeds = {feed.pk: feed for feed in locked.order_by("pk")}
        demands = Demand.objects.in_bulk(list(feeds))
        Demand.objects.bulk_create(
            Demand(feed=feed, base=by_slug[feed.slug].base, wanted_until=until)
            for feed in feeds.values()
            if feed.pk not in demands
        )
        want_again(demands, until)
        for feed in feeds.values():
            _tell(feed, demands.get(feed.pk), by_slug[feed.slug])
        standings = standings_of(feeds)
    full = Unavailable("As many live queries are watched as may be (HEADWATER_QUERIES_AT_ONCE).")
    answers: dict[Opened, Standing | Unavailable] = {
        opened: full for opened in asked if opened.slug in refused
    }
    return answers | {by_slug[standing.feed.slug]: standing for standing in standings.values()}


def want_again(feed_ids: Collection[int], until: datetime) -> None:
    """Want these feeds until then, where they are not wanted for longer. Two queries."""
    shorter = Demand.objects.filter(pk__in=list(feed_ids), wanted_until__lt=until)
    with transaction.atomic(savepoint=False):
        # Locked in the order in which engines do that.
        locked = shorter.select_for_update().order_by("pk").values_list("pk", flat=True)
        Demand.objects.filter(pk__in=list(locked)).update(wanted_until=until)


def standings_of(feed_ids: Collection[int]) -> dict[int, Standing]:
    """By the feeds' ids; left out are feeds that are gone, or were never opened. One query."""
    rows = Demand.objects.select_related("feed").filter(pk__in=list(feed_ids))
    return {row.pk: _standing(row) for row in rows}


def standings_named(slugs: Collection[str]) -> dict[str, Standing]:
    """The same by the feeds' names."""
    if not slugs:
        return {}
    rows = Demand.objects.select_related("feed").filter(feed__slug__in=slugs)
    return {row.feed.slug: _standing(row) for row in rows}


def _standing(row: Demand) -> Standing:
    filled = row.kept or row.feed.state == Feed.State.FAILING
    return Standing(ref_of(row.feed), row.base, row.wanted_until, row.claimed_until, filled)


def _new_feed(opened: Opened) -> Feed:
    return Feed(
        slug=opened.slug,
        title=opened.title[:TITLE_LIMIT],
        kind=Feed.Kind.QUERY,
        public=opened.public,
        recovery=Feed.Recovery.CACHE,
        retention_count=RETAINED_COUNT,
        retention_age_s=RETAINED_AGE_S,
        state=Feed.State.STALE,  # until it is filled
    )


def _tell(feed: Feed, demand: Demand | None, opened: Opened) -> None:
    """Have rows of an earlier declaration say what the present one does."""
    title, public = opened.title[:TITLE_LIMIT], opened.public
    if (feed.title, feed.public) != (title, public):
        Feed.objects.filter(pk=feed.pk).update(title=title, public=public)
    if demand is not None and demand.base != opened.base:
        Demand.objects.filter(pk=feed.pk).update(base=opened.base)
