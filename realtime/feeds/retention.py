"""Trimming the journal: by count and age, a bounded bite at a time, away from the hot path.

Refuses to touch a feed's offset, so an offset is never used twice, and a feed's newest publication, but for
channels: what is said there is forgotten in time. Channels that nobody uses are deleted, and so are the feeds
of live queries that nobody watches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from realtime.conf import conf
from realtime.errors import Unavailable

from .catalog import OPENED_KINDS
from .database import Database
from .idempotency import forget_old
from .models import Demand, Feed, JournalEntry

logger = logging.getLogger(__name__)

TRIM_EVERY_S = 60.0
BITE = 1_000
# A channel or a live query's feed is deleted when it was used by nobody for this long and longer than its
# publications live.
UNUSED_S = 86_400.0


def overfull(now: datetime) -> list[int]:
    """The feeds whose oldest entry is past their count or age. Two index look-ups per feed, one query."""
    oldest = JournalEntry.objects.filter(feed=OuterRef("pk")).order_by("offset")
    rows = Feed.objects.annotate(
        oldest=Subquery(oldest.values("offset")[:1]),
        oldest_at=Subquery(oldest.values("published_at")[:1]),
    ).values_list("pk", "kind", "offset", "oldest", "oldest_at", "retention_count", "retention_age_s")
    return [
        feed_id
        for feed_id, kind, offset, first, first_at, count, age_s in rows.order_by("pk")
        if first is not None
        and first < _end(kind, offset)
        and (first <= offset - _count(count) or first_at < now - _age(age_s))
    ]


def trim(feed_id: int, now: datetime, *, everything: bool = False) -> int:
    """Delete at most `BITE` entries past the feed's count or age, oldest first; how many. One unit of work.

    everything   whatever its count and age

    The newest entry stays, however old it is, but for a channel's.
    """
    with transaction.atomic():
        # Under the row's lock, so that the stream cannot be reborn in between.
        feed = Feed.objects.select_for_update().filter(pk=feed_id).first()
        if feed is None:
            return 0
        entries = JournalEntry.objects.filter(feed_id=feed_id)
        first = entries.order_by("offset").values_list("offset", flat=True).first()
        if first is None:
            return 0
        young = entries.filter(published_at__gte=now - _age(feed.retention_age_s))
        young = young.order_by("published_at", "offset")
        first_young = young.values_list("offset", flat=True).first()
        last = _end(feed.kind, feed.offset)
        keep_from = max(
            feed.offset - _count(feed.retention_count) + 1,
            last if first_young is None or everything else first_young,
        )
        # Offsets have no holes: a range of offsets bounds the number of rows.
        end = min(keep_from, last, first + BITE)
        deleted, _ = entries.filter(offset__lt=end).delete()
    return deleted


async def trim_all(database: Database, now: datetime) -> int:
    """Trim every feed that is past its count or age; how many entries went. Raises Unavailable.

    Each bite is a transaction of its own, so publications never wait long behind it.
    """
    total = 0
    for feed_id in await database.read(overfull, now):
        while bite := await database.write(trim, feed_id, now):
            total += bite
    return total


def unused(now: datetime) -> list[int]:
    """The channels and live queries that nobody has used for longer than their age and a day. One query."""
    long_ago = now - timedelta(seconds=UNUSED_S)
    channels = Q(kind=Feed.Kind.CHANNEL, used_at__lt=long_ago)
    queries = Q(kind=Feed.Kind.QUERY, demand__wanted_until__lt=long_ago)
    rows = (
        Feed.objects.filter(channels | queries)
        .order_by("pk")
        .values_list("pk", "used_at", "demand__wanted_until", "last_ok_at", "retention_age_s")
    )
    return [feed_id for feed_id, *times, age_s in rows if _is_unused(times, age_s, now)]


def delete_unused(feed_id: int, now: datetime) -> int:
    """Delete this channel or live query's feed, unless it has been used meanwhile; how many were deleted.

    One unit of work.
    """
    with transaction.atomic():
        # Under the row's lock: who opens it or publishes has done so before, or finds it gone.
        feed = Feed.objects.select_for_update().filter(pk=feed_id, kind__in=OPENED_KINDS).first()
        if feed is None:
            return 0
        wanted_until = Demand.objects.filter(pk=feed_id).values_list("wanted_until", flat=True).first()
        times = [feed.used_at, wanted_until, feed.last_ok_at]
        if not _is_unused(times, feed.retention_age_s, now):
            return 0
        feed.delete()
    return 1


async def delete_all_unused(database: Database, now: datetime) -> int:
    """Delete every channel and live query's feed that is unused; how many. Raises Unavailable."""
    return sum([await database.write(delete_unused, id_, now) for id_ in await database.read(unused, now)])


async def keep_trimmed(database: Database) -> None:
    """`trim_all` and `delete_all_unused` now and then every minute, for ever, and forget old keys.

    A database that is away is tried again.
    """
    while True:
        try:
            entries = await trim_all(database, timezone.now())
            unused_feeds = await delete_all_unused(database, timezone.now())
            while await database.write(forget_old, timezone.now()):
                pass
        except Unavailable:
            logger.warning("trimming_failed")
        else:
            logger.debug("journal_trimmed entries=%d unused=%d", entries, unused_feeds)
        await asyncio.sleep(TRIM_EVERY_S)


def _end(kind: str, offset: int) -> int:
    """The offset from which on a feed's entries are never trimmed by age."""
    return offset + 1 if kind == Feed.Kind.CHANNEL else offset


def _is_unused(times: Iterable[datetime | None], age_s: float | None, now: datetime) -> bool:
    """Whether all these times, at which a feed was opened, watched or published to, are long past."""
    limit = now - _age(age_s) - timedelta(seconds=UNUSED_S)
    return all(time is None or time < limit for time in times)


def _count(own: int | None) -> int:
    return own if own is not None else conf().retention_count


def _age(own: float | None) -> timedelta:
    return timedelta(seconds=own if own is not None else conf().retention_age_s)
