"""Pings and handshakes go in portions, and connections that have ended are forgotten."""

from __future__ import annotations

import asyncio
import random
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from realtime.delivery.keeping import PORTION, SLICE_S, TICK_S, KeptServer, Line, Pulse

PING_EVERY_S = 20.0


class Loop:
    """A clock that the test moves, and what is to be called later."""

    def __init__(self) -> None:
        self.now = 0.0
        self.later: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.later.append((self.now + delay_s, callback))

    def turn(self) -> None:
        """What is due by now, once."""
        due = [each for each in self.later if each[0] <= self.now]
        self.later = [each for each in self.later if each[0] > self.now]
        for _, callback in due:
            callback()

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + TICK_S)
            for _ in range(100):
                self.turn()


class Socket:
    def __init__(self) -> None:
        self.pings = 0
        self.open = True

    def ping(self) -> bool:
        self.pings += self.open
        return self.open


@pytest.fixture(autouse=True)
def no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ping comes after a whole interval."""
    monkeypatch.setattr(random, "random", lambda: 1.0)


def test_the_first_pings_of_those_who_came_at_once_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", random.Random(1).random)
    loop, sockets = Loop(), [Socket() for _ in range(400)]
    pulse = Pulse(PING_EVERY_S, lambda: loop.now, loop.call_later)
    for socket in sockets:
        pulse.add(socket)
    for quarter in range(1, 13):
        loop.advance(PING_EVERY_S / 4)
        assert sum(socket.pings for socket in sockets) == pytest.approx(100 * quarter, abs=30)
    assert {socket.pings for socket in sockets} == {3}


def test_every_socket_is_pinged_at_its_interval_until_it_is_gone() -> None:
    loop, socket, gone = Loop(), Socket(), Socket()
    pulse = Pulse(PING_EVERY_S, lambda: loop.now, loop.call_later)
    pulse.add(socket)
    loop.advance(PING_EVERY_S / 2)
    pulse.add(gone)
    loop.advance(PING_EVERY_S / 2 + TICK_S)
    assert (socket.pings, gone.pings) == (1, 0)
    gone.open = False
    loop.advance(PING_EVERY_S * 2)
    assert socket.pings == 3
    socket.open = False
    loop.advance(PING_EVERY_S * 2)
    assert loop.later == [], "nothing ticks for nobody"


def test_a_socket_that_has_ended_is_not_kept_until_its_next_ping() -> None:
    loop, socket = Loop(), Socket()
    pulse = Pulse(PING_EVERY_S, lambda: loop.now, loop.call_later)
    pulse.add(socket)
    kept = weakref.ref(socket)
    del socket
    assert kept() is None
    loop.advance(PING_EVERY_S + TICK_S)
    assert loop.later == []


def test_a_thousand_that_came_at_once_are_pinged_in_portions() -> None:
    loop = Loop()
    pulse = Pulse(PING_EVERY_S, lambda: loop.now, loop.call_later)
    sockets = [Socket() for _ in range(PORTION * 3)]
    for socket in sockets:
        pulse.add(socket)
    loop.now = PING_EVERY_S
    done = []
    for _ in range(4):
        loop.turn()
        done.append(sum(socket.pings for socket in sockets))
    assert done == [PORTION, PORTION * 2, PORTION * 3, PORTION * 3]


def test_a_line_moves_on_by_a_slice_of_time_in_each_turn_and_in_order() -> None:
    loop, done = Loop(), []
    line = Line(lambda: loop.now, lambda move: loop.call_later(0, move))

    def work(number: int) -> None:
        done.append(number)
        loop.now += SLICE_S / 4

    for number in range(10):
        line.add(lambda number=number: work(number))
    assert done == [], "not even the first one before the next turn"
    counts = []
    while loop.later:
        loop.turn()
        counts.append(len(done))
    assert counts == [4, 8, 10]
    assert done == list(range(10))
    line.add(lambda: work(10))
    loop.turn()
    assert done[-1] == 10, "after a rest it moves on"


def test_work_that_fails_does_not_stop_the_line() -> None:
    loop, done = Loop(), []
    line = Line(lambda: loop.now, lambda move: loop.call_later(0, move))
    line.add(lambda: 1 / 0)
    line.add(lambda: done.append("next"))
    with pytest.raises(ZeroDivisionError):
        loop.turn()
    loop.turn()
    assert done == ["next"]


class Client:
    """A protocol of Daphne's, as far as a server deals with it."""

    def __init__(self) -> None:
        self.told: list[BaseException] = []

    def handle_exception(self, error: BaseException) -> None:
        self.told.append(error)


def server_of(application: Callable[..., Any]) -> tuple[KeptServer, Client]:
    server = KeptServer(application, endpoints=["tcp:0"], application_close_timeout=0.05)
    server.connections = {}
    client = Client()
    server.protocol_connected(client)
    server.create_application(client, {"type": "http"})
    return server, client


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - a server tells nobody
            await asyncio.sleep(0.01)


async def test_a_connection_is_forgotten_when_client_and_application_have_ended() -> None:
    end = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await end.wait()

    for client_first in (True, False):
        end.clear()
        server, client = server_of(application)
        for step in (server.protocol_disconnected, None)[:: 1 if client_first else -1]:
            assert client in server.connections
            step(client) if step else end.set()
            await asyncio.sleep(0)
        await eventually(lambda server=server: not server.connections)  # type: ignore[misc]


async def test_an_application_that_does_not_end_after_its_client_is_cut_off() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    server, client = server_of(application)
    task = server.connections[client]["application_instance"]
    await asyncio.sleep(0)
    server.protocol_disconnected(client)
    server.protocol_disconnected(client)
    await eventually(lambda: not server.connections)
    assert task.cancelled()


async def test_an_application_s_error_reaches_a_client_that_is_still_there() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("wrong")

    server, client = server_of(application)
    await eventually(lambda: bool(client.told))
    assert client in server.connections
    server.protocol_disconnected(client)
    await eventually(lambda: not server.connections)
