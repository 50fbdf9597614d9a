"""One watched feed, followed offset by offset, and the seats of those who watch it. No Django, no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from realtime.feeds.publication import Publication, Snapshot, Status

from .frames import Event, gone_event, status_event, update_event, value_event

# Updates kept for seats that are joining, and kept aside while a hole is being read, per stream.
RECENT_LIMIT = 1_000
RECENT_LIMIT_CHARACTERS = 4_000_000
ASIDE_LIMIT = 1_000


class Watcher(Protocol):
    """Somebody who is told, on the loop and in order."""

    def deliver(self, *events: Event) -> None:
        """Enqueue news. Must not raise, wait, or leave the hub before it has returned."""

    def start(self, *events: Event) -> None:
        """Enqueue a part of the start, likewise: what is told before the watcher's seat is live."""

    async def drain(self) -> None:
        """Return when there is room for more of a start. Raises or never returns for one that has gone."""


class Seat:
    """One watcher of one feed.

    offset   the last one it was told while it joins; a live seat stands where its stream stands, except one
             that read further in the journal than the stream has heard
    rev      that of the last status it was told
    """

    __slots__ = ("feed_id", "live", "offset", "rev", "watcher")

    def __init__(self, feed_id: int, watcher: Watcher) -> None:
        self.feed_id = feed_id
        self.watcher = watcher
        self.offset = 0
        self.rev = -1
        self.live = False


# Tells one event to live seats, later in this turn of the loop; what is told first arrives first.
Tell = Callable[[Event, Sequence[Seat]], None]


def tell_now(event: Event, seats: Sequence[Seat]) -> None:
    """The simplest `Tell`: at once."""
    for seat in seats:
        seat.watcher.deliver(event)


class Stream:
    """One watched feed. `epoch` is empty until the journal was first read."""

    def __init__(self, feed_id: int, slug: str, tell: Tell) -> None:
        self.feed_id = feed_id
        self.slug = slug
        self.epoch = ""
        self.top = 0
        self.status: Status | None = None
        self.heard = 0  # the highest offset that an announcement named since the journal was last read
        self.aside: dict[int, Publication] = {}
        self._tell = tell
        self._value: str | None = None  # the data at `top`, where it is known
        self._joining: set[Seat] = set()
        self._level: dict[Seat, None] = {}  # live, and told everything up to `top`
        self._ahead: set[Seat] = set()  # live, and told more than that by the journal
        self._audience: tuple[Seat, ...] | None = None
        self._recent: deque[tuple[int, Event]] = deque()
        self._recent_size = 0

    # Seats

    def __contains__(self, seat: Seat) -> bool:
        return seat in self._level or seat in self._joining or seat in self._ahead

    def is_empty(self) -> bool:
        """Whether nobody watches any more."""
        return not (self._level or self._joining or self._ahead)

    def join(self, seat: Seat) -> None:
        """Keep what comes from now on for this seat."""
        self._joining.add(seat)

    def leave(self, seat: Seat) -> None:
        """Tell this seat nothing more, not even what was told in this turn."""
        seat.live = False
        self._joining.discard(seat)
        self._ahead.discard(seat)
        if seat in self._level:
            del self._level[seat]
            self._audience = None

    def make_live(self, seat: Seat, status: Status) -> bool:
        """Tell a joining seat what came since its start, and the status; from now on it hears everything.

        False, and still joining, when something in between is not known here any more.
        """
        if seat.offset < self.top:
            if not self._recent or self._recent[0][0] > seat.offset + 1:
                return False
            for offset, event in self._recent:
                if offset > seat.offset:
                    seat.offset = offset
                    seat.watcher.start(event)
        if self.status is not None and self.status.rev > status.rev:
            status = self.status
        seat.rev = status.rev
        seat.watcher.start(status_event(self.feed_id, self.slug, status))
        seat.live = True
        self._joining.discard(seat)
        if seat.offset > self.top:
            self._ahead.add(seat)
        else:
            self._rank(seat)
        return True

    def _rank(self, seat: Seat) -> None:
        self._level[seat] = None
        self._audience = None

    def _everybody_level(self) -> tuple[Seat, ...]:
        if self._audience is None:
            self._audience = tuple(self._level)
        return self._audience

    # Events

    def advance(self, publication: Publication) -> None:
        """Tell the next offset to every live seat that has not had it, and keep it for those that join."""
        event = update_event(self.slug, publication, self._value)
        self.top, self._value = publication.offset, publication.data
        self._tell(event, self._everybody_level())
        if self._ahead:
            for seat in [seat for seat in self._ahead if seat.offset <= self.top]:
                self._ahead.discard(seat)
                self._rank(seat)
        if self._joining:
            self._recent.append((self.top, event))
            self._recent_size += len(event.plain)
            while len(self._recent) > RECENT_LIMIT or self._recent_size > RECENT_LIMIT_CHARACTERS:
                self._recent_size -= len(self._recent.popleft()[1].plain)
        else:
            self._forget_recent()

    def begin(self, snapshot: Snapshot, offset: int) -> bool:
        """The first start was told, up to `offset`: go on from there. True if there is more to read."""
        self.epoch, self.top = snapshot.epoch, offset
        self._value = snapshot.data if offset == snapshot.offset else None
        self.status = snapshot.status if self.status is None else self.status
        self.aside = {at: each for at, each in self.aside.items() if each.epoch == self.epoch}
        self.advance_from_aside()
        return self.knows_of_more()

    def keep_aside(self, publication: Publication) -> None:
        """Keep one that came before its turn, if there is room; that it exists is remembered anyway."""
        self.heard = max(self.heard, publication.offset)
        if len(self.aside) < ASIDE_LIMIT:
            self.aside[publication.offset] = publication

    def advance_from_aside(self) -> None:
        """Tell what was kept aside, as far as it continues without a hole; drop what is old by now."""
        for offset in sorted(self.aside):
            if offset > self.top + 1:
                break
            publication = self.aside.pop(offset)
            if offset == self.top + 1:
                self.advance(publication)

    def knows_of_more(self) -> bool:
        """Whether an announcement named an offset that has not been delivered; asked once per answer."""
        heard, self.heard = self.heard, 0
        self.aside.clear()
        return heard > self.top

    def tell_status(self, status: Status) -> None:
        """Tell a status to the live seats, unless they were told a newer one."""
        if self.status is not None and status.rev <= self.status.rev:
            return
        self.status = status
        seats = [seat for seat in (*self._level, *self._ahead) if seat.rev < status.rev]
        for seat in seats:
            seat.rev = status.rev
        self._tell(status_event(self.feed_id, self.slug, status), seats)

    def reset(self, snapshot: Snapshot) -> None:
        """Start over at the snapshot: every live seat is told to forget its position."""
        self.epoch, self.top, self._value = snapshot.epoch, snapshot.offset, snapshot.data
        self.aside.clear()
        self._forget_recent()
        for seat in self._ahead:
            self._rank(seat)
        self._ahead.clear()
        self._tell(value_event("reset", snapshot), self._everybody_level())

    def end(self) -> None:
        """Tell everybody, joining or live, that the feed is gone."""
        event = gone_event(self.feed_id, self.slug)
        for seat in self._joining:
            seat.watcher.deliver(event)
        self._tell(event, (*self._level, *self._ahead))

    def _forget_recent(self) -> None:
        self._recent.clear()
        self._recent_size = 0


def tell_start(seat: Seat, events: Iterable[Event]) -> None:
    """Tell what was read for a joining seat; its offset follows."""
    events = tuple(events)
    seat.watcher.start(*events)
    for event in events:
        if event.position is not None:
            seat.offset = event.position.offset
