"""Keeping a server's connections in order at no cost while nothing happens.

Daphne looks at every connection each second, and pings all that are due in one go: with 10,000 sockets that
stops the loop for a second. Here an application's end is heard when it comes, and pings leave in portions.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol
from weakref import ReferenceType

from daphne.server import Server

logger = logging.getLogger(__name__)

# So that many leave and are answered at a time: to wake the loop for each costs more than the ping.
TICK_S = 1.0
PORTION = 100
SLICE_S = 0.005


class Pinged(Protocol):
    """An open socket."""

    def ping(self) -> bool:
        """Ping it if it was heard since the last time; False when it is gone, or has just been let go."""


class Pulse:
    """Pings every socket every `interval_s`, at most `PORTION` of them in one turn of the loop.

    A client that has not been heard between two pings is gone, so it is noticed within twice the interval.
    The first comes after a random part of it, so that those of many who joined at once are spread.

    clock, call_later   the loop's
    """

    def __init__(
        self,
        interval_s: float,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._call_later = call_later
        # A heap; the number spares comparing sockets. Weakly: those of a storm are gone before their turn.
        self._due: list[tuple[float, int, ReferenceType[Pinged]]] = []
        self._numbers = count()
        self._ticking = False

    def add(self, socket: Pinged) -> None:
        """Ping this socket from now on, until it is gone."""
        first_s = self._interval_s * random.random()  # noqa: S311 - jitter, not a secret
        self._plan(ReferenceType(socket), self._clock() + first_s)
        if not self._ticking:
            self._ticking = True
            self._call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        now = self._clock()
        for _ in range(PORTION):
            if not self._due or self._due[0][0] > now:
                break
            reference = heappop(self._due)[2]
            socket = reference()
            if socket is not None and socket.ping():
                self._plan(reference, now + self._interval_s)
        self._ticking = bool(self._due)
        if self._ticking:
            self._call_later(0 if self._due[0][0] <= now else TICK_S, self._tick)

    def _plan(self, socket: ReferenceType[Pinged], at: float) -> None:
        heappush(self._due, (at, next(self._numbers), socket))


class Line:
    """Work in the order in which it came: in each turn of the loop as much as fits into `SLICE_S`.

    For handshakes: a thousand that come at once would stop everything else for a second.

    clock, call_soon   the loop's
    """

    def __init__(self, clock: Callable[[], float], call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._clock = clock
        self._call_soon = call_soon
        self._waiting: deque[Callable[[], object]] = deque()
        self._moving = False

    def add(self, work: Callable[[], object]) -> None:
        """Have `work()` called in its turn."""
        self._waiting.append(work)
        if not self._moving:
            self._moving = True
            self._call_soon(self._move)

    def _move(self) -> None:
        end = self._clock() + SLICE_S
        try:
            while self._waiting:
                self._waiting.popleft()()
                if self._clock() >= end:
                    break
        finally:
            self._moving = bool(self._waiting)
            if self._moving:
                self._call_soon(self._move)


class KeptServer(Server):  # type: ignore[misc]
    """Daphne's server without its sweeps: the same rules, applied when something happens."""

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        queue = super().create_application(protocol, scope)
        task = self.connections.get(protocol, {}).get("application_instance")
        if task is not None:
            task.add_done_callback(partial(self._application_ended, protocol))
        return queue

    def protocol_disconnected(self, protocol: Any) -> None:
        details = self.connections.get(protocol)
        if details is None or "disconnected" in details:
            return
        super().protocol_disconnected(protocol)
        loop = asyncio.get_event_loop()
        if details.get("application_instance") is None:
            loop.call_soon(self._forget, protocol)
        else:
            details["patience"] = loop.call_later(self.application_close_timeout, self._cut_off, protocol)

    def _application_ended(self, protocol: Any, task: asyncio.Task[None]) -> None:
        details = self.connections.get(protocol, {})
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("application_failed", exc_info=error)
            if "disconnected" not in details:
                protocol.handle_exception(error)
        details.pop("application_instance", None)
        if "patience" in details:
            details["patience"].cancel()
        self._forget(protocol)

    def _forget(self, protocol: Any) -> None:
        details = self.connections.get(protocol)
        if details is not None and "disconnected" in details and "application_instance" not in details:
            del self.connections[protocol]

    def _cut_off(self, protocol: Any) -> None:
        """The client has gone, and its application does not end."""
        task = self.connections.get(protocol, {}).get("application_instance")
        if task is not None:
            logger.warning("application_cut_off after_s=%s", self.application_close_timeout)
            task.cancel()

    def application_checker(self) -> None:
        """Daphne's sweep over all applications, each second: not needed."""

    def timeout_checker(self) -> None:
        """Daphne's sweep over all time-outs: pings are `Pulse`'s, and no other time-out is set."""
