"""What the hub tells reaches live seats at the end of the turn, each watcher by one call."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from realtime.delivery import fanout
from realtime.delivery.fanout import Fanout
from realtime.delivery.frames import Event
from realtime.delivery.stream import Seat
from realtime.feeds.position import Position


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[Event, ...]] = []

    def deliver(self, *events: Event) -> None:
        self.calls.append(events)

    start = deliver

    async def drain(self) -> None: ...


class Loop:
    """Turns by hand."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def turn(self) -> None:
        due, self.due[:] = list(self.due), []
        for callback in due:
            callback()


def event(offset: int, feed_id: int = 1) -> Event:
    return Event("update", feed_id, "feed", Position("e", offset), str(offset))


def live_seat(watcher: Recorder, feed_id: int = 1) -> Seat:
    seat = Seat(feed_id, watcher)
    seat.live = True
    return seat


def test_the_feeds_that_changed_in_one_turn_reach_a_board_in_one_call() -> None:
    loop, board = Loop(), Recorder()
    hub_tells = Fanout(loop.due.append).tell
    events = [event(1, feed_id) for feed_id in range(200)]
    for each in events:
        hub_tells(each, [live_seat(board, each.feed_id)])
    assert board.calls == []
    loop.turn()
    assert board.calls == [tuple(events)]


def test_order_holds_across_rounds_and_nobody_who_left_is_told() -> None:
    loop, stays, leaves = Loop(), Recorder(), Recorder()
    seats = [live_seat(stays), live_seat(leaves)]
    fan = Fanout(loop.due.append)
    fan.tell(event(1), seats)
    seats[1].live = False
    fan.tell(event(2), seats)
    loop.turn()
    fan.tell(event(3), seats)
    loop.turn()
    assert [each.plain for call in stays.calls for each in call] == ["1", "2", "3"]
    assert leaves.calls == []


def test_a_large_audience_leaves_the_loop_its_turns() -> None:
    loop = Loop()
    fan = Fanout(loop.due.append)
    watchers = [Recorder() for _ in range(fanout.YIELD_EVERY * 2 + 1)]
    seats = [live_seat(watcher) for watcher in watchers]
    fan.tell(event(1), seats)
    done = []
    for _ in range(3):
        loop.turn()
        done.append(sum(len(watcher.calls) for watcher in watchers))
    assert done == [200, 400, 401]


def test_what_comes_during_a_round_makes_the_next_one_together() -> None:
    loop = Loop()
    fan = Fanout(loop.due.append)
    watchers = [Recorder() for _ in range(fanout.YIELD_EVERY * 2)]
    seats = [live_seat(watcher) for watcher in watchers]
    fan.tell(event(1), seats)
    loop.turn()
    fan.tell(event(2), seats)
    fan.tell(event(3), seats)
    while loop.due:
        loop.turn()
    assert {tuple(tuple(each.plain for each in call) for call in watcher.calls) for watcher in watchers} == {
        (("1",), ("2", "3"))
    }


class Broken(Recorder):
    """Breaks its promise."""

    def deliver(self, *events: Event) -> None:
        raise ValueError("broken")

    start = deliver


def test_a_watcher_that_raises_does_not_silence_everybody_for_good() -> None:
    loop, watcher = Loop(), Recorder()
    fan = Fanout(loop.due.append)
    fan.tell(event(1), [live_seat(Broken())])
    with pytest.raises(ValueError, match="broken"):
        loop.turn()
    fan.tell(event(2), [live_seat(watcher)])
    loop.turn()
    assert [each.plain for call in watcher.calls for each in call] == ["2"]
