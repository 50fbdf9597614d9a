"""What an engine knows of one query that it keeps true: its feeds, its pace, what it reads, how it fares."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence, Set
from datetime import datetime

from .changes import EVERYTHING, Change, Footprint, Read, affects
from .pace import Pace

NEVER = float("inf")
# More changes than this while one evaluation is under way count as: anything may have changed.
MEANWHILE_LIMIT = 1_000


class Line:
    """One base, and the feeds that it fills: its value, and blocks that show it. Times are the loop's.

    feeds         the block that each feed shows, by the feed's id; empty: the value itself
    read          what the last evaluation read; None: there was none yet, and its first one is due
    evaluate_at   when it is to be evaluated although no change was heard
    slow          it takes longer than others should wait for it
    failures      in a row; while there are some, changes do not hasten the next try
    told          the text that each feed was last published with, by the feed's id
    last_ok_at    when each feed's value was last found to be the present one, by the feed's id
    heard         a change was heard that no result has shown yet
    """

    __slots__ = (
        *("base", "evaluate_at", "failures", "feeds", "heard", "last_ok_at", "pace", "read"),
        *("slow", "timer", "told", "_meanwhile"),
    )

    def __init__(self, base: str, *, first_s: float, sustained_s: float) -> None:
        self.base = base
        self.feeds: Mapping[int, str] = {}
        self.pace = Pace(first_s=first_s, sustained_s=sustained_s)
        self.read: Read | None = None
        self.evaluate_at = NEVER
        self.slow = False
        self.failures = 0
        self.told: dict[int, str] = {}
        self.last_ok_at: dict[int, datetime | None] = {}
        self.heard = False
        self.timer: asyncio.TimerHandle | None = None
        self._meanwhile: list[Change] = []

    def hold(
        self, feeds: Mapping[int, str], last_ok_at: Mapping[int, datetime | None], claimed: Set[int]
    ) -> bool:
        """These are its feeds from now on; whether one of them is to be filled.

        claimed   feeds that were claimed just now: what they were told before does not count, as they may
                  have been let go, and another's, meanwhile
        """
        new = feeds.keys() - self.feeds.keys() | feeds.keys() & claimed
        self.feeds = feeds
        self.told = {
            feed_id: text for feed_id, text in self.told.items() if feed_id in feeds and feed_id not in new
        }
        self.last_ok_at = {id_: self.last_ok_at.get(id_, last_ok_at[id_]) for id_ in feeds}
        return bool(new)

    @property
    def untold(self) -> bool:
        """Whether one of its feeds has not been filled yet."""
        return bool(self.feeds.keys() - self.told.keys())

    def hear(self, changes: Sequence[Change], now: float) -> bool:
        """Whether one of these changes may affect it, which its pace has then heard.

        While an evaluation is under way they are kept: what it reads decides, once that is known.
        """
        if self.pace.running:
            self._meanwhile += changes
            if len(self._meanwhile) > MEANWHILE_LIMIT:
                self._meanwhile = [EVERYTHING]
            return False
        if self.read is None or not any(affects(change, self.read.footprint) for change in changes):
            return False
        self.pace.heard(now)
        return True

    def started(self, now: float) -> None:
        """An evaluation starts, which may have waited for its turn."""
        self._forget_meanwhile()
        self.heard = self.heard or self.pace.waits
        self.pace.started(now)

    def ended(self, read: Read | None, now: float) -> None:
        """It has ended and read this; None: it failed. What was heard meanwhile counts by what it read."""
        self.pace.ended(now)
        if read is not None:
            self.read = read
            self.heard = False
            if self.hears(read.footprint):
                self.pace.heard(now)
        self._forget_meanwhile()

    def _forget_meanwhile(self) -> None:
        """The next evaluation sees these changes: what counts is only whether one was heard."""
        self.heard = self.heard or (self.read is not None and self.hears(self.read.footprint))
        self._meanwhile.clear()

    def hears(self, footprint: Footprint) -> bool:
        """Whether a change was heard, while the evaluation was under way, that affects what it read."""
        return any(affects(change, footprint) for change in self._meanwhile)

    @property
    def due(self) -> float:
        """When it is to be evaluated next, for whatever reason."""
        if self.pace.running:
            return NEVER
        change = self.pace.due
        return self.evaluate_at if change is None or self.failures else min(self.evaluate_at, change)

    def cancel_timer(self) -> None:
        """Forget when it was to be evaluated."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
