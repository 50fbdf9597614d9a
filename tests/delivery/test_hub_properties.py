"""The hub against a model journal, whatever happens to announcements and whenever watchers come and go.

Announcements are lost, doubled, late and out of order; the stream is trimmed and reborn. Whoever watches
still gets every publication once and in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from realtime.delivery import stream as stream_module
from realtime.delivery.fanout import Fanout
from realtime.delivery.frames import Event, update_event, value_event
from realtime.delivery.hub import Hub
from realtime.delivery.stream import Seat, tell_start
from realtime.feeds.announcement import Announcement
from realtime.feeds.publication import Mark, Publication, Snapshot, Status

FEED = 7
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Journal:
    """What the database would hold, with an epoch that can change and a past that can be trimmed."""

    def __init__(self) -> None:
        self.epoch = "e1"
        self.entries: list[Publication] = []
        self.offset = 0
        self.status = Status(0, "fresh", None, None, "")

    def snapshot(self) -> Snapshot:
        data = self.entries[-1].data if self.entries else "null"
        return Snapshot(
            FEED, "feed", self.epoch, self.offset, NOW if self.entries else None, data, self.status
        )

    def after(self, offset: int, limit: int) -> list[Publication]:
        return [entry for entry in self.entries if entry.offset > offset][:limit]


class Recorder:
    """A watcher that checks the order of what it is told as it comes."""

    def __init__(self) -> None:
        self.position: tuple[str, int] | None = None
        self.left = False
        self.events: list[Event] = []

    def deliver(self, *events: Event) -> None:
        for event in events:
            self.hear(event)

    def hear(self, event: Event) -> None:
        assert not self.left, event
        self.events.append(event)
        if event.kind == "status":
            return
        assert event.position is not None
        epoch, offset = event.position.epoch, event.position.offset
        if event.kind == "update":
            assert self.position is not None, "an update before any start"
            assert (epoch, offset) == (self.position[0], self.position[1] + 1), (self.position, event)
        forgotten = event.kind != "update" and '"published_at":null,"data":null' in event.plain
        assert forgotten or f'"data":"{epoch}-{offset}"' in event.plain
        self.position = (epoch, offset)

    start = deliver

    async def drain(self) -> None: ...


class Joining:
    def __init__(self, seat: Seat, recorder: Recorder) -> None:
        self.seat, self.recorder = seat, recorder
        self.snapshot: Snapshot | None = None


class HubMachine(RuleBasedStateMachine):
    joining = Bundle("joining")
    live = Bundle("live")

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal()
        self.behind: set[int] = set()
        self.due: list[Callable[[], None]] = []
        self.hub = Hub(self.behind.add, Fanout(self.due.append).tell)
        self.flying: list[Announcement] = []
        self.epochs = 1
        self.seats: list[tuple[Seat, Recorder]] = []

    def recorder(self) -> Recorder:
        return Recorder()

    def publication(self, epoch: str, offset: int) -> Publication:
        return Publication(FEED, epoch, offset, NOW, f'"{epoch}-{offset}"')

    # The world: commits, and what becomes of their announcements

    @rule(count=st.integers(1, 3), announced=st.booleans(), large=st.booleans())
    def publish(self, count: int, announced: bool, large: bool) -> None:
        journal = self.journal
        batch = []
        for _ in range(count):
            journal.offset += 1
            batch.append(self.publication(journal.epoch, journal.offset))
        journal.entries += batch
        if not announced:
            return
        if large:
            self.flying.append(Announcement(FEED, behind=(journal.epoch, journal.offset)))
        else:
            self.flying.append(Announcement(FEED, tuple(batch)))

    @rule(announced=st.booleans())
    def change_status(self, announced: bool) -> None:
        rev = self.journal.status.rev + 1
        self.journal.status = Status(rev, "failing", None, None, f"reason {rev}.")
        if announced:
            self.flying.append(Announcement(FEED, status=self.journal.status))

    @rule(keep=st.integers(1, 3))
    def trim(self, keep: int) -> None:
        self.journal.entries = self.journal.entries[-keep:]

    @rule()
    def forget_all(self) -> None:
        """As of a channel past the age of its publications, whoever watches."""
        self.journal.entries = []

    @rule()
    def be_reborn(self) -> None:
        self.epochs += 1
        self.journal.epoch, self.journal.entries, self.journal.offset = f"e{self.epochs}", [], 0

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), doubled=st.booleans())
    def an_announcement_arrives(self, data: st.DataObject, doubled: bool) -> None:
        at = data.draw(st.integers(0, len(self.flying) - 1))
        announcement = self.flying[at] if doubled else self.flying.pop(at)
        self.hub.hear(announcement)

    @rule()
    def a_turn_of_the_loop_ends(self) -> None:
        due, self.due[:] = list(self.due), []
        for callback in due:
            callback()

    # Watchers

    @rule(target=joining, back=st.one_of(st.none(), st.integers(-1, 4)))
    def join(self, back: int | None) -> Joining:
        recorder = self.recorder()
        seat, _ = self.hub.join(FEED, "feed", recorder)
        if back is not None:
            recorder.position = (self.journal.epoch, max(0, self.journal.offset - back))
        return Joining(seat, recorder)

    @rule(target=joining, each=consumes(joining))
    def read_snapshot(self, each: Joining) -> Joining:
        each.snapshot = self.journal.snapshot()
        return each

    @rule(target=live, each=consumes(joining))
    def settle(self, each: Joining) -> object:
        for _ in range(10):
            snapshot = each.snapshot or self.journal.snapshot()
            each.snapshot = None
            self.tell_start(each, snapshot)
            if self.hub.settle(each.seat, snapshot):
                self.seats.append((each.seat, each.recorder))
                return multiple((each.seat, each.recorder))
            self.catch_up()
        raise AssertionError("never settles")

    def tell_start(self, each: Joining, snapshot: Snapshot) -> None:
        """What `Delivery` does with its reads, in one go."""
        seat, standing = each.seat, each.recorder.position
        if standing is None:
            tell_start(seat, [value_event("snapshot", snapshot)])
        elif standing[0] != snapshot.epoch or standing[1] > max(snapshot.offset, seat.offset):
            tell_start(seat, [value_event("reset", snapshot)])
        else:
            seat.offset = standing[1]
            while seat.offset < snapshot.offset:
                page = self.journal.after(seat.offset, 2) if self.journal.epoch == snapshot.epoch else []
                if not page or page[0].offset != seat.offset + 1:
                    tell_start(seat, [value_event("reset", snapshot)])
                    break
                befores = [None, *(publication.data for publication in page)]
                tell_start(seat, [update_event("feed", *each) for each in zip(page, befores, strict=False)])

    @rule(which=consumes(live))
    def leave(self, which: tuple[Seat, Recorder]) -> None:
        self.hub.leave(which[0])
        which[1].left = True
        self.seats = [seat for seat in self.seats if seat != which]

    # The shell's background work

    @rule()
    def catch_up(self) -> None:
        self.behind.clear()
        self.fill_once()

    def fill_once(self) -> bool:
        top = self.hub.position(FEED)
        if top is None:
            return True
        snapshot = self.journal.snapshot()
        entries = self.journal.after(top[1], 2) if top[0] == snapshot.epoch else []
        return self.hub.fill(FEED, snapshot, entries)

    @rule()
    def check_positions(self) -> None:
        journal = self.journal
        self.hub.check([FEED], {FEED: Mark(journal.epoch, journal.offset, journal.status.rev)})

    @invariant()
    def nobody_is_ahead_of_the_journal(self) -> None:
        for _, recorder in self.seats:
            if recorder.position and recorder.position[0] == self.journal.epoch:
                assert recorder.position[1] <= self.journal.offset

    def teardown(self) -> None:
        """However it went: one look at the positions, and everybody has everything."""
        self.check_positions()
        rounds = 0
        while self.behind:
            self.behind.clear()
            if not self.fill_once():
                self.behind.add(FEED)
            rounds += 1
            assert rounds < 100, "catches up for ever"
        while self.due:
            self.a_turn_of_the_loop_ends()
        for _, recorder in self.seats:
            assert recorder.position == (self.journal.epoch, self.journal.offset)
            statuses = [event.plain for event in recorder.events if event.kind == "status"]
            assert self.journal.status.error in statuses[-1]


HubMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=50)


@pytest.fixture(autouse=True, scope="module")
def a_short_memory() -> Iterator[None]:
    """So that the limits are met within a few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_module, "RECENT_LIMIT", 3)
        patch.setattr(stream_module, "ASIDE_LIMIT", 2)
        yield


TestHub = HubMachine.TestCase
