"""Carries what the hub tells to live seats, once a turn of the loop, with one call for each watcher.

While one feed changes, a delivery costs one look at the seat and one call. When several changed in this turn,
a watcher of many gets them in one call, so that they leave in one write.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from .frames import Event
from .stream import Seat, Watcher

# So that a large audience delays nobody's ping.
YIELD_EVERY = 200


class Fanout:
    """A hub's `Tell`. What is told first arrives first; a seat that leaves gets nothing more.

    call_soon   the loop's: calls back when this turn is over

    While a round is under way, what is told meanwhile waits and makes the next round: under overload, rounds
    carry more for each call instead of piling up.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._waiting: deque[tuple[Event, Sequence[Seat]]] = deque()
        self._round: Iterator[tuple[Watcher, Sequence[Event]]] | None = None

    def tell(self, event: Event, seats: Sequence[Seat]) -> None:
        """Deliver the event to these seats, as far as they are live then, when this turn is over."""
        if not self._waiting and self._round is None:
            self._call_soon(self._go_on)
        self._waiting.append((event, seats))

    def _go_on(self) -> None:
        if self._round is None:
            told, self._waiting = self._waiting, deque()
            self._round = _one_event(*told[0]) if len(told) == 1 else _several(told)
        count = 0
        for watcher, events in islice(self._round, YIELD_EVERY):
            watcher.deliver(*events)
            count += 1
        if count < YIELD_EVERY:
            self._round = None
        if self._round is not None or self._waiting:
            self._call_soon(self._go_on)


def _one_event(event: Event, seats: Sequence[Seat]) -> Iterator[tuple[Watcher, Sequence[Event]]]:
    events = (event,)
    for seat in seats:
        if seat.live:
            yield seat.watcher, events


def _several(
    told: Sequence[tuple[Event, Sequence[Seat]]],
) -> Iterator[tuple[Watcher, Sequence[Event]]]:
    by_watcher: defaultdict[Watcher, list[tuple[Seat, Event]]] = defaultdict(list)
    for event, seats in told:
        for seat in seats:
            by_watcher[seat.watcher].append((seat, event))
    for watcher, news in by_watcher.items():
        events = [event for seat, event in news if seat.live]
        if events:
            yield watcher, events
