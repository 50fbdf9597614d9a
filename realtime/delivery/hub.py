"""Who watches what in this process, and in which order they hear of it. No Django, no I/O.

A `Stream` is one watched feed: it follows the journal offset by offset. Announcements may be lost, late,
doubled or out of order; the stream delivers only the next offset, keeps later ones aside and asks for a
catch-up, and drops the rest. A `Seat` is one watcher of one stream: it joins first, is read a start from the
journal, and then settles, which hands it everything that came meanwhile. From then on it is live.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from realtime.feeds.announcement import Announcement
from realtime.feeds.publication import Mark, Publication, Snapshot, Status

from .frames import Event, gone_event, status_event, update_event, value_event

# Updates kept for seats that are joining, and kept aside while a hole is being read, per stream.
RECENT_LIMIT = 1_000
RECENT_LIMIT_CHARACTERS = 4_000_000
ASIDE_LIMIT = 1_000


class Watcher(Protocol):
    """Somebody who is told, on the loop and in order."""

    def deliver(self, event: Event) -> None:
        """Enqueue news. Must not raise, wait, or leave the hub before it has returned."""

    def start(self, event: Event) -> None:
        """Enqueue a part of the start, likewise: what is told before the watcher's seat is live."""

    async def drain(self) -> None:
        """Return when there is room for more of a start. Raises or never returns for one that has gone."""


class Seat:
    """One watcher of one feed. `offset` is the last one it was told; `rev` that of the last status."""

    __slots__ = ("feed_id", "live", "offset", "rev", "watcher")

    def __init__(self, feed_id: int, watcher: Watcher) -> None:
        self.feed_id = feed_id
        self.watcher = watcher
        self.offset = 0
        self.rev = -1
        self.live = False


class Stream:
    """One watched feed. `epoch` is empty until the journal was first read."""

    __slots__ = (
        *("aside", "epoch", "feed_id", "heard", "recent", "recent_size"),
        *("seats", "slug", "status", "top"),
    )

    def __init__(self, feed_id: int, slug: str) -> None:
        self.feed_id = feed_id
        self.slug = slug
        self.epoch = ""
        self.top = 0
        self.status: Status | None = None
        self.seats: dict[Seat, None] = {}
        self.aside: dict[int, Publication] = {}
        self.heard = 0  # the highest offset that an announcement named since the journal was last read
        self.recent: deque[tuple[int, Event]] = deque()
        self.recent_size = 0

    def advance(self, publication: Publication) -> None:
        """Deliver the next offset to every live seat that has not had it, and keep it for those that join."""
        event = update_event(self.slug, publication)
        offset = self.top = publication.offset
        someone_joins = False
        for seat in self.seats:
            if not seat.live:
                someone_joins = True
            elif seat.offset < offset:
                seat.offset = offset
                seat.watcher.deliver(event)
        if someone_joins:
            self.recent.append((offset, event))
            self.recent_size += len(event.plain)
            while len(self.recent) > RECENT_LIMIT or self.recent_size > RECENT_LIMIT_CHARACTERS:
                self.recent_size -= len(self.recent.popleft()[1].plain)
        else:
            self.recent.clear()
            self.recent_size = 0

    def advance_from_aside(self) -> None:
        """Deliver what was kept aside, as far as it continues without a hole; drop what is old by now."""
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
        """Deliver a status to the live seats, unless a newer one was told."""
        if self.status is not None and status.rev <= self.status.rev:
            return
        self.status = status
        event = status_event(self.feed_id, self.slug, status)
        for seat in self.seats:
            if seat.live and seat.rev < status.rev:
                seat.rev = status.rev
                seat.watcher.deliver(event)

    def reset(self, snapshot: Snapshot) -> None:
        """Start over at the snapshot: every live seat is told to forget its position."""
        self.epoch, self.top = snapshot.epoch, snapshot.offset
        self.aside.clear()
        self.recent.clear()
        self.recent_size = 0
        event = value_event("reset", snapshot)
        for seat in self.seats:
            if seat.live:
                seat.offset = snapshot.offset
                seat.watcher.deliver(event)

    def hand_over(self, seat: Seat) -> bool:
        """Tell a joining seat what came since its start; False when that is not known here any more."""
        if seat.offset < self.top:
            if not self.recent or self.recent[0][0] > seat.offset + 1:
                return False
            for offset, event in self.recent:
                if offset > seat.offset:
                    seat.offset = offset
                    seat.watcher.start(event)
        return True


class Hub:
    """All streams of one process. `catch_up(feed_id)` is called when the journal must be read for a stream.

    Promises each live seat every publication of its feed's epoch once and in order, provided that every
    catch-up it asks for is answered by `fill` in the end.
    """

    def __init__(self, catch_up: Callable[[int], None]) -> None:
        self._catch_up = catch_up
        self._streams: dict[int, Stream] = {}

    def watched(self) -> list[int]:
        """The feeds that somebody here watches."""
        return list(self._streams)

    def position(self, feed_id: int) -> tuple[str, int] | None:
        """(epoch, top) of a stream; None when nobody watches it or the journal has not been read for it."""
        stream = self._streams.get(feed_id)
        return (stream.epoch, stream.top) if stream is not None and stream.epoch else None

    def join(self, feed_id: int, slug: str, watcher: Watcher) -> tuple[Seat, bool]:
        """A new seat, and whether it is the feed's first here. Read the journal next, then `settle` it."""
        first = feed_id not in self._streams
        stream = self._streams.setdefault(feed_id, Stream(feed_id, slug))
        seat = Seat(feed_id, watcher)
        stream.seats[seat] = None
        return seat, first

    def leave(self, seat: Seat) -> bool:
        """Forget a seat, live or not; True when it was the feed's last here. Idempotent."""
        stream = self._streams.get(seat.feed_id)
        if stream is None or seat not in stream.seats:
            return False
        del stream.seats[seat]
        if stream.seats:
            return False
        del self._streams[seat.feed_id]
        return True

    def settle(self, seat: Seat, snapshot: Snapshot) -> bool:
        """Make a seat live that was told everything up to `seat.offset` of the snapshot's epoch.

        False when there is something between its offset and the stream that only the journal knows, or
        when stream and snapshot are of different epochs: catch up, read again, and settle again.
        """
        stream = self._streams.get(seat.feed_id)
        if stream is None or seat not in stream.seats:
            return True  # it has left, or the feed was deleted meanwhile and it was told so
        if not stream.epoch:
            stream.epoch, stream.top = snapshot.epoch, seat.offset
            stream.status = snapshot.status if stream.status is None else stream.status
            stream.aside = {at: each for at, each in stream.aside.items() if each.epoch == stream.epoch}
            stream.advance_from_aside()
            if stream.knows_of_more():
                self._catch_up(seat.feed_id)
        if stream.epoch != snapshot.epoch:
            self._catch_up(seat.feed_id)
            return False
        if not stream.hand_over(seat):
            return False
        seat.live = True
        status = snapshot.status
        if stream.status is not None and stream.status.rev > status.rev:
            status = stream.status
        seat.rev = status.rev
        seat.watcher.start(status_event(stream.feed_id, stream.slug, status))
        return True

    def hear(self, announcement: Announcement) -> None:
        """Take an announcement: deliver what comes next, keep aside what is early, drop what is old."""
        stream = self._streams.get(announcement.feed_id)
        if stream is None:
            return
        for publication in announcement.publications:
            self._hear_one(stream, publication)
        if announcement.behind is not None:
            epoch, offset = announcement.behind
            stream.heard = max(stream.heard, offset)
            if stream.epoch and (epoch != stream.epoch or offset > stream.top):
                self._catch_up(stream.feed_id)
        if announcement.status is not None:
            stream.tell_status(announcement.status)

    def _hear_one(self, stream: Stream, publication: Publication) -> None:
        if stream.epoch and publication.epoch != stream.epoch:
            self._catch_up(stream.feed_id)  # only the journal knows which of the two is the present one
        elif stream.epoch and publication.offset == stream.top + 1:
            stream.advance(publication)
            stream.advance_from_aside()
        elif publication.offset > stream.top:
            stream.heard = max(stream.heard, publication.offset)
            if len(stream.aside) < ASIDE_LIMIT:
                stream.aside[publication.offset] = publication
            if stream.epoch:
                self._catch_up(stream.feed_id)

    def fill(self, feed_id: int, snapshot: Snapshot | None, publications: Sequence[Publication]) -> bool:
        """Answer a catch-up with what the journal holds above the stream's top; True when it is complete.

        snapshot       read in the same unit as, or before, `publications`; None: the feed does not exist
        publications   of the snapshot's epoch, oldest first, perhaps only the first part
        """
        stream = self._streams.get(feed_id)
        if stream is None:
            return True
        if snapshot is None:
            self._delete(stream)
            return True
        if not stream.epoch:
            return True  # nobody has settled yet; who does reads for itself
        if snapshot.epoch != stream.epoch:
            stream.reset(snapshot)
        for publication in publications:
            if publication.epoch != stream.epoch:
                return False
            if publication.offset == stream.top + 1:
                stream.advance(publication)
            elif publication.offset > stream.top:
                stream.reset(snapshot)  # what lay between was trimmed
                break
        stream.tell_status(snapshot.status)
        if stream.top < snapshot.offset:
            return False
        stream.advance_from_aside()
        return not stream.knows_of_more()

    def check(self, feed_ids: Collection[int], marks: Mapping[int, Mark]) -> None:
        """Compare with how far the journal has come; ask for a catch-up wherever it knows more."""
        for feed_id in feed_ids:
            stream, mark = self._streams.get(feed_id), marks.get(feed_id)
            if stream is None or not stream.epoch:
                continue
            rev = stream.status.rev if stream.status is not None else -1
            if (
                mark is None
                or mark.epoch != stream.epoch
                or mark.offset > stream.top
                or mark.status_rev > rev
            ):
                self._catch_up(feed_id)

    def _delete(self, stream: Stream) -> None:
        event = gone_event(stream.feed_id, stream.slug)
        del self._streams[stream.feed_id]
        for seat in stream.seats:
            seat.watcher.deliver(event)


def tell(seat: Seat, events: Iterable[Event]) -> None:
    """Tell the start that was read for a joining seat; its offset follows."""
    for event in events:
        seat.watcher.start(event)
        if event.position is not None:
            seat.offset = event.position.offset
