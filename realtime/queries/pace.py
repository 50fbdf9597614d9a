"""When one query is to be evaluated, given when changes were heard. Times are in seconds, of one clock.

A burst of changes is one evaluation: it starts once there was quiet for a moment, and not later than
`first_s` after the burst began. While changes never stop, evaluations move apart, from `first_s` up to
`sustained_s`, and as soon as there was a pause they are close again. None starts sooner after the end of the
one before than that one took, so that a slow query never has the database for more than half of the time.
"""

from __future__ import annotations

# Statements of one burst that are committed one by one follow each other faster than this.
QUIET_S = 0.002


class Pace:
    """The pace of one query. `due` says when to start; tell it of every change, start and end."""

    def __init__(self, *, first_s: float, sustained_s: float) -> None:
        self._first_s = first_s
        self._sustained_s = max(first_s, sustained_s)
        self._apart_s = first_s
        self._began: float | None = None  # the first change that no evaluation has seen
        self._last = 0.0
        self._started = float("-inf")
        self._ended = float("-inf")
        self._took = 0.0
        self._busy = False  # changes come as fast as evaluations could be
        self.running = False

    @property
    def waits(self) -> bool:
        """Whether a change was heard that no evaluation has seen."""
        return self._began is not None

    @property
    def due(self) -> float | None:
        """When the next evaluation is to start; None: no change waits for one, or one is under way."""
        if self._began is None or self.running:
            return None
        gathered = min(self._last + QUIET_S, self._began + self._first_s)
        return max(gathered, self._started + self._apart_s, self._ended + self._took)

    def heard(self, now: float) -> None:
        """A change was heard."""
        if self._began is None:
            self._began = now
        self._last = now
        if now - self._started < self._first_s:
            self._busy = True

    def started(self, now: float) -> None:
        """An evaluation starts: it sees all that was heard so far."""
        self._apart_s = min(2 * self._apart_s, self._sustained_s) if self._busy else self._first_s
        self._busy = False
        self._began = None
        self._started = now
        self.running = True

    def ended(self, now: float) -> None:
        """The evaluation has ended, well or not."""
        self._took = now - self._started
        self._ended = now
        self.running = False
