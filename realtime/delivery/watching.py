"""Watching feeds: join the hub, read a start from the journal, then hand over what came meanwhile.

The one place where hub, journal and broker meet. Holes and lost announcements are found and read here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

from realtime.conf import conf
from realtime.errors import Unavailable
from realtime.feeds import journal
from realtime.feeds.channels import keep_in_use
from realtime.feeds.demand import keep_wanted
from realtime.feeds.position import Position
from realtime.feeds.publication import Publication, Snapshot
from realtime.feeds.runtime import Feeds
from realtime.feeds.shared_reads import SharedReads

from .fanout import Fanout
from .frames import Event, gone_event, value_event
from .hub import Hub
from .missed import PAGE, After, load_missed
from .stream import Seat, Watcher, tell_start
from .turnstile import Turnstile

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

SETTLE_ATTEMPTS = 20
# Feeds of one watcher that are started side by side: each may hold a value of the largest size meanwhile.
STARTS_AT_ONCE = 50
# While the layer is away, positions are compared this often whatever the setting says.
CHECK_WHILE_AWAY_S = 1.0
RETRY_S = 0.5
# How long a start may wait until it is its turn to read.
JOIN_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Want:
    """A feed to watch; `since` is where the watcher stands, None for one that comes without a position.

    An empty epoch in `since` is whichever is the present one.

    latest_only   while the watcher is behind, the newest value is enough: see `backlog`
    reach         so many publications at most are read for one that comes with a position; for one who missed
                  more, the position is gone
    """

    feed_id: int
    slug: str
    since: Position | None = None
    latest_only: bool = False
    reach: int | None = None


def latest_only(wants: Iterable[Want]) -> frozenset[int]:
    """The feeds among these of which only the newest value need wait."""
    return frozenset(want.feed_id for want in wants if want.latest_only)


class Watch:
    """What one watcher watches. `leave` ends it; no event is delivered afterwards. Idempotent."""

    def __init__(self, delivery: Delivery, seats: list[Seat]) -> None:
        self._delivery = delivery
        self.seats = seats

    def leave(self) -> None:
        """Give all seats back."""
        while self.seats:
            self._delivery.give_back(self.seats.pop())


class Delivery:
    """Everything that watches feeds on one loop. Close it before its `Feeds`."""

    def __init__(self, feeds: Feeds, *, position_check_s: float) -> None:
        self._feeds = feeds
        self._position_check_s = position_check_s
        self._loop = asyncio.get_running_loop()
        self._hub = Hub(self._catch_up, Fanout(self._loop.call_soon).tell)
        self._behind: set[int] = set()
        self._someone_behind = asyncio.Event()
        self._joins = Turnstile(conf().joins_at_once, patience_s=JOIN_PATIENCE_S)
        self._snapshots = SharedReads(self._load_snapshots, batch_limit=500)
        self._missed = SharedReads(self._load_missed, batch_limit=1_000)
        feeds.broker.listen(self._hub.hear)
        feeds.supervisor.spawn("catch-up", self._keep_catching_up)
        feeds.supervisor.spawn("position check", self._keep_checking)
        feeds.supervisor.spawn("channels in use", partial(keep_in_use, feeds.database, self._hub.watched))
        feeds.supervisor.spawn("demand", partial(keep_wanted, feeds.database, self._hub.named))

    @classmethod
    def current(cls) -> Delivery:
        """The running loop's own, made at the first call."""
        loop = asyncio.get_running_loop()
        delivery = _by_loop.get(loop)
        if delivery is None:
            delivery = _by_loop[loop] = cls(Feeds.current(), position_check_s=conf().position_check)
        return delivery

    async def watch(self, wants: Sequence[Want], watcher: Watcher) -> Watch:
        """Deliver each feed's start to the watcher, and from then on every change.

        The start: without a position the value now ("snapshot"); with one, everything missed, in order; when
        the position is gone or of another epoch, the value now ("reset"). A status follows, always. Feeds are
        started side by side; within a feed the order is strict. Returns once all have started.

        At most `conf().joins_at_once` starts read at the same time, in the order in which they asked. A place
        is held for each read alone, never while a client takes what was read: slow ones hold up nobody, and
        one page at most waits for each. Who asks for what is about to be read anyway needs none.

        Raises Unavailable when the journal cannot be read, or a turn to read has not come within
        `JOIN_PATIENCE_S`; then nothing is watched.
        """
        watch = Watch(self, [])
        try:
            if len(wants) == 1:
                await self._start(watch, wants[0], watcher)  # a storm is made of these: without a task
            else:
                for some in range(0, len(wants), STARTS_AT_ONCE):
                    async with asyncio.TaskGroup() as group:
                        for want in wants[some : some + STARTS_AT_ONCE]:
                            group.create_task(self._start(watch, want, watcher))
        except BaseExceptionGroup as errors:
            watch.leave()
            raise errors.exceptions[0] from None
        except BaseException:
            watch.leave()
            raise
        return watch

    def epoch(self, feed_id: int) -> str:
        """That of a feed which is watched here; empty before its first watcher has started."""
        standing = self._hub.position(feed_id)
        return standing[0] if standing is not None else ""

    def watched(self) -> list[int]:
        """The feeds that somebody watches here."""
        return self._hub.watched()

    def give_back(self, seat: Seat) -> None:
        """Take one seat out of the hub."""
        if self._hub.leave(seat):
            self._feeds.broker.leave(seat.feed_id)

    async def _start(self, watch: Watch, want: Want, watcher: Watcher) -> None:
        seat, first = self._hub.join(want.feed_id, want.slug, watcher)
        watch.seats.append(seat)
        if first:
            await self._feeds.broker.join(want.feed_id)
        standing = want.since
        for _ in range(SETTLE_ATTEMPTS):
            snapshot = await self._read(self._snapshots, want.feed_id)
            if snapshot is None:
                if self._hub.holds(seat):  # else a catch-up has found it first, and told this seat as well
                    watcher.deliver(gone_event(want.feed_id, want.slug))
                    self.give_back(seat)
                return
            standing = await self._tell_start(seat, snapshot, standing, want.reach)
            if self._hub.settle(seat, snapshot):
                return
        raise Unavailable("This feed changes faster than it can be read. Try again in a moment.")

    async def _tell_start(
        self, seat: Seat, snapshot: Snapshot, standing: Position | None, reach: int | None
    ) -> Position:
        """Bring a seat from where it stands up to the snapshot at least; where it stands then."""
        if standing is not None and not standing.epoch:
            standing = Position(snapshot.epoch, standing.offset)
        if standing is None:
            tell_start(seat, [value_event("snapshot", snapshot)])
            await seat.watcher.drain()
        elif (
            standing.epoch != snapshot.epoch
            or standing.offset > max(snapshot.offset, seat.offset)
            or (reach is not None and standing.offset < snapshot.offset - reach)
        ):
            tell_start(seat, [value_event("reset", snapshot)])
        else:
            seat.offset = standing.offset
            while seat.offset < snapshot.offset:
                after = After(seat.feed_id, snapshot.slug, snapshot.epoch, seat.offset)
                page = await self._read(self._missed, after)
                if page is None:
                    continue  # too much was asked for at once: left for the next read
                if not page or page[0].position != Position(snapshot.epoch, seat.offset + 1):
                    tell_start(seat, [value_event("reset", snapshot)])  # trimmed: the position is gone
                    break
                tell_start(seat, page)
                if seat.offset < snapshot.offset:
                    await seat.watcher.drain()
        return Position(snapshot.epoch, seat.offset)

    async def _read(self, reads: SharedReads[K, V], key: K) -> V | None:
        if reads.is_asked(key):
            return await reads.ask(key)
        async with self._joins:
            return await reads.ask(key)

    async def _load_snapshots(self, feed_ids: Sequence[int]) -> dict[int, Snapshot]:
        return await self._feeds.database.read(journal.snapshots, feed_ids)

    async def _load_missed(self, asked: Sequence[After]) -> dict[After, list[Event]]:
        return await self._feeds.database.read(load_missed, asked)

    def _catch_up(self, feed_id: int) -> None:
        self._behind.add(feed_id)
        self._someone_behind.set()

    async def _keep_catching_up(self) -> None:
        """Read what the hub lacks, for all feeds that lack something at once, until it lacks nothing."""
        while True:
            await self._someone_behind.wait()
            self._someone_behind.clear()
            feed_ids, self._behind = self._behind, set()
            try:
                await self._fill(feed_ids)
            except Unavailable:
                self._behind |= feed_ids
                self._someone_behind.set()
                await asyncio.sleep(RETRY_S)

    async def _fill(self, feed_ids: set[int]) -> None:
        tops = {feed_id: self._hub.position(feed_id) for feed_id in feed_ids}

        def load() -> tuple[dict[int, Snapshot], dict[int, list[Publication]]]:
            snapshots = journal.snapshots(feed_ids)
            entries = {
                feed_id: journal.entries_after(feed_id, top[0], top[1], PAGE)
                for feed_id, top in tops.items()
                if top is not None and feed_id in snapshots and snapshots[feed_id].epoch == top[0]
            }
            return snapshots, entries

        snapshots, entries = await self._feeds.database.read(load)
        for feed_id, top in tops.items():
            if top is None:
                continue
            snapshot = snapshots.get(feed_id)
            if not self._hub.fill(feed_id, snapshot, entries.get(feed_id, [])):
                self._catch_up(feed_id)
            if snapshot is None:
                self._feeds.broker.leave(feed_id)  # the hub has dropped the stream: no seat is the last

    async def _keep_checking(self) -> None:
        """Compare every stream's position with the journal's: finds a lost last announcement.

        At once when the layer goes away, and once more after it is back: what was lost meanwhile is news.
        """
        broker = self._feeds.broker
        while True:
            if broker.connected:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._position_check_s):
                        await broker.away.wait()
            else:
                await asyncio.sleep(min(self._position_check_s, CHECK_WHILE_AWAY_S))
            feed_ids = self._hub.watched()
            if not feed_ids:
                continue
            try:
                marks = await self._feeds.database.read(journal.marks, feed_ids)
            except Unavailable:
                continue
            self._hub.check(feed_ids, marks)

    async def aclose(self) -> None:
        """End the shared reads. The tasks end with the supervisor of `Feeds`."""
        await self._snapshots.aclose()
        await self._missed.aclose()
        _by_loop.pop(self._loop, None)


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Delivery] = WeakKeyDictionary()

__all__ = ["Delivery", "Event", "Want", "Watch", "Watcher"]
