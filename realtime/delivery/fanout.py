"""Carries what the hub tells to live seats, once a turn of the loop, with one call for each watcher.

While one feed changes, a delivery costs one look at the seat and one call. When several changed in this turn,
a watcher of many gets them in one call, so that they leave in one write.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence

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
        self._round: Iterator[None] | None = None

    def tell(self, event: Event, seats: Sequence[Seat]) -> None:
        """Deliver the event to these seats, as far as they are live then, when this turn is over."""
        if not self._waiting and self._round is None:
            self._call_soon(self._go_on)
        self._waiting.append((event, seats))

    def _go_on(self) -> None:
        if self._round is None:
            told, self._waiting = self._waiting, deque()
            self._round = _tell_one(*told[0]) if len(told) == 1 else _tell_several(told)
        over = True  # also when a watcher raises, which it must not: the next round takes place all the same
        try:
            over = next(self._round, _OVER) is _OVER
        finally:
            if over:
                self._round = None
            if self._round is not None or self._waiting:
                self._call_soon(self._go_on)


_OVER = object()


def _tell_one(event: Event, seats: Sequence[Seat]) -> Iterator[None]:
    for start in range(0, len(seats), YIELD_EVERY):
        for seat in seats[start : start + YIELD_EVERY]:
            if seat.live:
                seat.watcher.deliver(event)
        yield


def _tell_several(told: Sequence[tuple[Event, Sequence[Seat]]]) -> Iterator[None]:
    by_watcher: defaultdict[Watcher, list[tuple[Seat, Event]]] = defaultdict(list)
    for event, seats in told:
        for seat in seats:
            by_watcher[seat.watcher].append((seat, event))
    for count, (watcher, news) in enumerate(by_watcher.items(), 1):
        events = [event for seat, event in news if seat.live]
        if events:
            watcher.deliver(*events)
        if count % YIELD_EVERY == 0:
            yield
