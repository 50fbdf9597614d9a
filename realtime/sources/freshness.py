"""The states that no poll can tell of: *stale*, because none came, and *paused*, because none will.

Any process may look after them, with or without an engine: that an engine is dead must be seen by others.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from realtime.errors import Unavailable
from realtime.feeds.feed_rows import lock
from realtime.feeds.runtime import Feeds, write_now
from realtime.feeds.store import Health, Write

from .models import Extraction
from .schedule import CLAIM_SLACK_S

logger = logging.getLogger(__name__)

CHECK_EVERY_S = 1.0
LEAST_OVERDUE_S = 15.0
NO_POLL = "No poll was made in time: no engine is running, or it has too much to do."


class _Row(NamedTuple):
    """A feed of a source, with what decides its state."""

    feed_id: int
    state: str
    last_ok_at: datetime | None
    next_poll_at: datetime | None
    error: str
    enabled: bool
    interval_s: float
    timeout_s: float
    scheduled: datetime | None


def _untold(now: datetime) -> list[Write]:
    """The feeds whose state is not true any more, and what it should be. Few rows leave the database."""
    long_ago = now - timedelta(seconds=LEAST_OVERDUE_S)
    unpaused = Q(source__enabled=False) & ~Q(feed__state="paused")
    resumed = Q(source__enabled=True, feed__state="paused")
    silent = Q(feed__next_poll_at__isnull=True) | Q(feed__next_poll_at__lt=long_ago)
    rows = (
        Extraction.objects.filter(
            unpaused | resumed | Q(silent, source__enabled=True, feed__state__in=("fresh", "failing"))
        )
        .order_by("feed_id")
        .values_list(
            *("feed_id", "feed__state", "feed__last_ok_at", "feed__next_poll_at", "feed__error"),
            *("source__enabled", "source__interval_s", "source__timeout_s", "source__next_poll_at"),
        )
    )
    return [write for row in rows if (write := _true_state(_Row(*row), now)) is not None]


def _true_state(row: _Row, now: datetime) -> Write | None:
    if not row.enabled:
        return Write(row.feed_id, health=Health("paused", row.last_ok_at, None))
    if row.state == "paused" or row.next_poll_at is None:
        return Write(row.feed_id, health=Health("stale", row.last_ok_at, row.scheduled))
    # A poll that began in time has ended by its time limit, so what is later than that never began.
    patience_s = max(2 * row.interval_s, row.timeout_s + CLAIM_SLACK_S, LEAST_OVERDUE_S)
    if (now - row.next_poll_at).total_seconds() <= patience_s:
        return None
    health = Health("stale", row.last_ok_at, row.scheduled or row.next_poll_at, row.error or NO_POLL)
    return Write(row.feed_id, health=health)


def tell_states(now: datetime) -> int:
    """Make *stale* and *paused* true for all feeds of sources, and tell watchers; how many changed.

    Stale: no poll was completed although one was due for longer than two intervals, the source's time limit
    and 15 s; also a feed that was never polled. A last error is kept. One unit of work.
    """
    with transaction.atomic():
        suspects = [write.feed_id for write in _untold(now)]
        if not suspects:
            return 0
        locked = lock(suspects)
        # Looked up again under their locks: a poll may have ended since.
        writes = [write for write in _untold(now) if write.feed_id in locked]
        if writes:
            write_now(writes)
    return len(writes)


async def keep_states(feeds: Feeds, *, every_s: float = CHECK_EVERY_S) -> None:
    """`tell_states` every `every_s`, for ever. A database that is away is tried again."""
    while True:
        now = timezone.now()
        try:
            if await feeds.database.read(_untold, now):
                changed = await feeds.database.write(tell_states, now)
                logger.info("feeds_changed_state count=%d", changed)
        except Unavailable:
            logger.warning("freshness_check_failed")
        await asyncio.sleep(every_s)
