"""Who watches what in this process, and in which order they hear of it. No Django, no I/O.

A `Stream` is one watched feed: it follows the journal offset by offset. Announcements may be lost, late,
doubled or out of order; the stream tells only the next offset, keeps later ones aside and asks for a
catch-up, and drops the rest. A `Seat` is one watcher of one stream: it joins first, is read a start from the
journal, and then settles, which hands it everything that came meanwhile. From then on it is live.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from realtime.feeds.announcement import Announcement
from realtime.feeds.publication import Mark, Publication, Snapshot

from .stream import Seat, Stream, Tell, Watcher, tell_now


class Hub:
    """All streams of one process.

    catch_up(feed_id)   called when the journal must be read for a stream
    tell                carries events to live seats

    Promises each live seat every publication of its feed's epoch once and in order, provided that every
    catch-up it asks for is answered by `fill` in the end.
    """

    def __init__(self, catch_up: Callable[[int], None], tell: Tell = tell_now) -> None:
        self._catch_up = catch_up
        self._tell = tell
        self._streams: dict[int, Stream] = {}

    def watched(self) -> list[int]:
        """The feeds that somebody here watches."""
        return list(self._streams)

    def named(self) -> dict[int, str]:
        """The same with their names."""
        return {feed_id: stream.slug for feed_id, stream in self._streams.items()}

    def position(self, feed_id: int) -> tuple[str, int] | None:
        """(epoch, top) of a stream; None when nobody watches it or the journal has not been read for it."""
        stream = self._streams.get(feed_id)
        return (stream.epoch, stream.top) if stream is not None and stream.epoch else None

    def join(self, feed_id: int, slug: str, watcher: Watcher) -> tuple[Seat, bool]:
        """A new seat, and whether it is the feed's first here. Read the journal next, then `settle` it."""
        stream = self._streams.get(feed_id)
        first = stream is None
        if stream is None:
            stream = self._streams[feed_id] = Stream(feed_id, slug, self._tell)
        seat = Seat(feed_id, watcher)
        stream.join(seat)
        return seat, first

    def holds(self, seat: Seat) -> bool:
        """Whether this seat is still in its stream: not after it left, nor once it was told "gone"."""
        stream = self._streams.get(seat.feed_id)
        return stream is not None and seat in stream

    def leave(self, seat: Seat) -> bool:
        """Forget a seat, live or not; True when it was the feed's last here. Idempotent."""
        stream = self._streams.get(seat.feed_id)
        seat.live = False
        if stream is None or seat not in stream:
            return False
        stream.leave(seat)
        if not stream.is_empty():
            return False
        del self._streams[seat.feed_id]
        return True

    def settle(self, seat: Seat, snapshot: Snapshot) -> bool:
        """Make a seat live that was told everything up to `seat.offset` of the snapshot's epoch.

        False when there is something between its offset and the stream that only the journal knows, or
        when stream and snapshot are of different epochs: catch up, read again, and settle again.
        """
        stream = self._streams.get(seat.feed_id)
        if stream is None or seat not in stream:
            return True  # it has left, or the feed was deleted meanwhile and it was told so
        if not stream.epoch and stream.begin(snapshot, seat.offset):
            self._catch_up(seat.feed_id)
        if stream.epoch != snapshot.epoch:
            self._catch_up(seat.feed_id)
            return False
        return stream.make_live(seat, snapshot.status)

    def hear(self, announcement: Announcement) -> None:
        """Take an announcement: tell what comes next, keep aside what is early, drop what is old."""
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
            stream.keep_aside(publication)
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
            del self._streams[feed_id]
            stream.end()
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
        if not publications and stream.top < snapshot.offset:
            stream.reset(snapshot)  # all of it was trimmed, as a channel's publications are with their age
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
