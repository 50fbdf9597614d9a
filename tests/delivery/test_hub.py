"""The hub, one situation at a time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from realtime.delivery import stream as stream_module
from realtime.delivery.frames import Event, update_event, value_event
from realtime.delivery.hub import Hub
from realtime.delivery.stream import Seat, tell_start
from realtime.feeds.announcement import Announcement
from realtime.feeds.publication import Publication, Snapshot, Status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FRESH = Status(0, "fresh", None, None, "")


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def deliver(self, *events: Event) -> None:
        self.events.extend(events)

    start = deliver

    async def drain(self) -> None: ...

    def told(self) -> list[tuple[str, int]]:
        return [(event.kind, event.position.offset) for event in self.events if event.position]


def publication(offset: int, epoch: str = "e") -> Publication:
    return Publication(1, epoch, offset, NOW, str(offset))


def snapshot(offset: int, epoch: str = "e", status: Status = FRESH) -> Snapshot:
    return Snapshot(1, "feed", epoch, offset, NOW, str(offset), status)


class World:
    """A hub, and what it asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.hub = Hub(self.asked.append)

    def live(self, offset: int) -> tuple[Seat, Recorder]:
        recorder = Recorder()
        seat, _ = self.hub.join(1, "feed", recorder)
        tell_start(seat, [value_event("snapshot", snapshot(offset))])
        assert self.hub.settle(seat, snapshot(offset))
        return seat, recorder

    def hear(self, *offsets: int, epoch: str = "e") -> None:
        self.hub.hear(Announcement(1, tuple(publication(offset, epoch) for offset in offsets)))


@pytest.fixture
def world() -> World:
    return World()


def test_the_same_frame_goes_to_every_watcher(world: World) -> None:
    watchers = [world.live(0)[1] for _ in range(3)]
    world.hear(1)
    assert len({id(watcher.events[-1]) for watcher in watchers}) == 1
    assert watchers[0].told() == [("snapshot", 0), ("update", 1)]


def test_a_doubled_announcement_is_told_once(world: World) -> None:
    _, watcher = world.live(0)
    world.hear(1)
    world.hear(1)
    assert watcher.told() == [("snapshot", 0), ("update", 1)]
    assert world.asked == []


def test_a_hole_is_asked_for_and_what_came_early_follows_it(world: World) -> None:
    _, watcher = world.live(0)
    world.hear(3)
    assert watcher.told() == [("snapshot", 0)]
    assert world.asked == [1]
    assert not world.hub.fill(1, snapshot(3), [publication(1), publication(2)]), "a first part"
    assert world.hub.fill(1, snapshot(3), [publication(3)])
    assert watcher.told() == [("snapshot", 0), ("update", 1), ("update", 2), ("update", 3)]


def test_announcements_that_swapped_places_are_told_in_order(world: World) -> None:
    _, watcher = world.live(0)
    world.hear(2)
    world.hear(1)
    assert watcher.told() == [("snapshot", 0), ("update", 1), ("update", 2)]


def test_what_is_published_while_a_watcher_joins_is_handed_over(world: World) -> None:
    world.live(0)
    recorder = Recorder()
    seat, first = world.hub.join(1, "feed", recorder)
    assert not first
    world.hear(1, 2)
    tell_start(seat, [value_event("snapshot", snapshot(1))])
    assert world.hub.settle(seat, snapshot(1))
    assert recorder.told() == [("snapshot", 1), ("update", 2)]


def test_a_watcher_that_joins_too_slowly_must_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "RECENT_LIMIT", 2)
    world.live(0)
    recorder = Recorder()
    seat, _ = world.hub.join(1, "feed", recorder)
    tell_start(seat, [value_event("snapshot", snapshot(0))])
    world.hear(1, 2, 3, 4)
    assert not world.hub.settle(seat, snapshot(0)), "offset 1 and 2 are only in the journal now"
    assert recorder.told() == [("snapshot", 0)]


def test_early_announcements_of_another_life_are_not_taken_for_this_one(world: World) -> None:
    recorder = Recorder()
    seat, _ = world.hub.join(1, "feed", recorder)
    world.hear(2, epoch="old")
    tell_start(seat, [value_event("snapshot", snapshot(1))])
    assert world.hub.settle(seat, snapshot(1))
    assert recorder.told() == [("snapshot", 1)]


def test_a_value_too_large_to_carry_is_read_from_the_journal(world: World) -> None:
    _, watcher = world.live(0)
    world.hub.hear(Announcement(1, behind=("e", 1)))
    assert world.asked == [1]
    assert world.hub.fill(1, snapshot(1), [publication(1)])
    assert watcher.told()[-1] == ("update", 1)


def test_a_large_value_announced_while_the_first_watcher_joins_is_asked_for(world: World) -> None:
    seat, _ = world.hub.join(1, "feed", Recorder())
    world.hub.hear(Announcement(1, behind=("e", 2)))
    tell_start(seat, [value_event("snapshot", snapshot(1))])
    assert world.hub.settle(seat, snapshot(1))
    assert world.asked == [1]


def test_what_was_trimmed_before_it_could_be_read_is_a_reset(world: World) -> None:
    _, watcher = world.live(1)
    assert world.hub.fill(1, snapshot(9), [publication(8), publication(9)])
    assert watcher.told() == [("snapshot", 1), ("reset", 9)]


def test_where_the_journal_has_nothing_left_of_what_was_missed_is_a_reset(world: World) -> None:
    _, watcher = world.live(1)
    assert world.hub.fill(1, snapshot(3), []), "asked for again, for ever"
    assert watcher.told() == [("snapshot", 1), ("reset", 3)]


def test_a_deleted_feed_is_gone_for_everybody(world: World) -> None:
    _, watcher = world.live(1)
    joining = Recorder()
    seat, _ = world.hub.join(1, "feed", joining)
    assert world.hub.fill(1, None, [])
    assert [watcher.events[-1].kind, joining.events[-1].kind] == ["gone", "gone"]
    assert world.hub.watched() == []
    assert world.hub.settle(seat, snapshot(1)), "nothing is left to settle"


def test_the_last_to_leave_says_so(world: World) -> None:
    one, _ = world.live(0)
    two, _ = world.live(0)
    assert not world.hub.leave(one)
    assert not world.hub.leave(one)
    assert world.hub.leave(two)
    world.hear(1)
    assert world.asked == []


def test_the_value_before_is_not_known_where_more_was_read_than_the_snapshot(world: World) -> None:
    recorder = Recorder()
    seat, _ = world.hub.join(1, "feed", recorder)
    tell_start(seat, [update_event("feed", publication(offset)) for offset in (2, 3)])
    assert world.hub.settle(seat, snapshot(2))
    world.hear(4)
    world.hear(5)
    assert [event.before for event in recorder.events if event.kind == "update"][-2:] == [
        *(None, publication(4).data)
    ]


def test_an_older_status_never_follows_a_newer_one(world: World) -> None:
    _, watcher = world.live(0)
    world.hub.hear(Announcement(1, status=Status(2, "failing", None, None, "second")))
    world.hub.hear(Announcement(1, status=Status(1, "failing", None, None, "first")))
    assert [event.kind for event in watcher.events] == ["snapshot", "status", "status"]
    assert "second" in watcher.events[-1].plain
