"""Trimming the journal: by count and age, a bounded bite at a time, away from the hot path.

Refuses to touch a feed's newest publication or its offset, so an offset is never used twice.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from realtime.conf import conf
from realtime.errors import Unavailable

from .database import Database
from .models import Feed, JournalEntry

logger = logging.getLogger(__name__)

TRIM_EVERY_S = 60.0
BITE = 1_000


def overfull(now: datetime) -> list[int]:
    """The feeds whose oldest entry is past their count or age. Two index look-ups per feed, one query."""
    oldest = JournalEntry.objects.filter(feed=OuterRef("pk")).order_by("offset")
    rows = Feed.objects.annotate(
        oldest=Subquery(oldest.values("offset")[:1]),
        oldest_at=Subquery(oldest.values("published_at")[:1]),
    ).values_list("pk", "offset", "oldest", "oldest_at", "retention_count", "retention_age_s")
    return [
        feed_id
        for feed_id, offset, first, first_at, count, age_s in rows.order_by("pk")
        if first is not None
        and first < offset
        and (first <= offset - _count(count) or first_at < now - _age(age_s))
    ]


def trim(feed_id: int, now: datetime) -> int:
    """Delete at most `BITE` entries past the feed's count or age, oldest first; how many. One unit of work.

    The newest entry stays, however old it is.
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
        young = entries.filter(published_at__gte=now - _age(feed.retention_age_s)).order_by("published_at")
        first_young = young.values_list("offset", flat=True).first()
        keep_from = max(
            feed.offset - _count(feed.retention_count) + 1,
            feed.offset if first_young is None else first_young,
        )
        # Offsets have no holes: a range of offsets bounds the number of rows.
        end = min(keep_from, feed.offset, first + BITE)
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


async def keep_trimmed(database: Database) -> None:
    """`trim_all` now and then every minute, for ever. A database that is away is tried again."""
    while True:
        try:
            deleted = await trim_all(database, timezone.now())
        except Unavailable:
            logger.warning("trimming_failed")
        else:
            logger.debug("journal_trimmed entries=%d", deleted)
        await asyncio.sleep(TRIM_EVERY_S)


def _count(own: int | None) -> int:
    return own if own is not None else conf().retention_count


def _age(own: float | None) -> timedelta:
    return timedelta(seconds=own if own is not None else conf().retention_age_s)
