"""Daphne's handle: one write a turn, by the socket itself when nothing waits, never past what does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from twisted.internet.tcp import Server as TcpConnection

from realtime.delivery import daphne
from realtime.delivery import handle as handles
from realtime.delivery.daphne import Socket, check_insides
from realtime.delivery.handle import Handle, Outbox
from realtime.errors import UnknownInsides


class Wire:
    """The operating system's socket: takes so many bytes at a time."""

    def __init__(self, room: int = 1 << 20) -> None:
        self.room = room
        self.sends: list[bytes] = []

    def send(self, data: bytes) -> int:
        if self.room == 0:
            raise BlockingIOError
        self.sends.append(data[: self.room])
        taken = min(len(data), self.room)
        self.room -= taken
        return taken


class Plain(TcpConnection):  # type: ignore[misc]
    """A plain TCP transport without a reactor."""

    def __init__(self, wire: Wire) -> None:
        self.socket = wire
        self._tempDataBuffer: list[bytes] = []
        self._tempDataLen = 0
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self._tempDataBuffer.append(data)
        self._tempDataLen += len(data)


class Connected:
    """What a handle needs of its WebSocket."""

    STATE_OPEN = Socket.STATE_OPEN

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.state = Socket.STATE_OPEN
        self.closed: list[tuple[int, bytes]] = []

    def sendCloseFrame(self, code: int, reason: bytes) -> None:  # noqa: N802 - autobahn's name
        self.closed.append((code, reason))


def connect(
    monkeypatch: pytest.MonkeyPatch, wire: Wire, outbox: Outbox, *, kind: type = Plain
) -> tuple[Handle, Connected]:
    monkeypatch.setattr(handles, "TcpConnection", Plain)
    socket = Connected(kind(wire))
    return Handle(socket, outbox), socket  # type: ignore[arg-type]


async def test_the_frames_of_one_turn_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    wire, outbox = Wire(), Outbox()
    handle, _ = connect(monkeypatch, wire, outbox)
    for number in range(200):
        handle.write(b"%d," % number)
    assert wire.sends == []
    await asyncio.sleep(0)
    assert wire.sends == [b"".join(b"%d," % number for number in range(200))]


async def test_what_the_socket_does_not_take_goes_through_the_transport_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire, outbox = Wire(room=3), Outbox()
    handle, socket = connect(monkeypatch, wire, outbox)
    handle.write(b"abcdef")
    await asyncio.sleep(0)
    wire.room = 100
    handle.write(b"ghi")
    await asyncio.sleep(0)
    assert wire.sends == [b"abc"]
    assert socket.transport.written == [b"def", b"ghi"], "never past what is waiting"
    assert handle.waiting == 6


async def test_a_full_socket_hands_everything_to_the_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    handle, socket = connect(monkeypatch, Wire(room=0), Outbox())
    handle.write(b"abc")
    await asyncio.sleep(0)
    assert socket.transport.written == [b"abc"]


async def test_another_kind_of_connection_is_never_written_past(monkeypatch: pytest.MonkeyPatch) -> None:
    class Encrypted(Plain):
        pass

    wire = Wire()
    handle, socket = connect(monkeypatch, wire, Outbox(), kind=Encrypted)
    handle.write(b"abc")
    await asyncio.sleep(0)
    assert (wire.sends, socket.transport.written) == ([], [b"abc"])


async def test_nothing_follows_a_close(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire()
    handle, socket = connect(monkeypatch, wire, Outbox())
    handle.write(b"last")
    handle.close(1012, "restart")
    assert (wire.sends, socket.closed) == ([b"last"], [(1012, b"restart")])
    socket.state = Socket.STATE_CLOSING
    handle.write(b"late")
    handle.close(1000, "again")
    await asyncio.sleep(0)
    assert (wire.sends, socket.closed) == ([b"last"], [(1012, b"restart")])


async def test_many_who_are_written_to_at_once_leave_the_loop_its_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outbox = Outbox()
    wires = [Wire() for _ in range(Outbox.YIELD_EVERY * 2 + 1)]
    for wire in wires:
        connect(monkeypatch, wire, outbox)[0].write(b"x")
    done = []
    for _ in range(3):
        await asyncio.sleep(0)
        done.append(sum(len(wire.sends) for wire in wires))
    assert done == [200, 400, 401]


async def test_one_that_cannot_be_written_to_does_not_keep_what_is_written_from_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    outbox, wire = Outbox(), Wire()
    broken, _ = connect(monkeypatch, Wire(), outbox)
    broken._pending = [None]  # type: ignore[list-item] # cannot be joined
    outbox.add(broken)
    handle, _ = connect(monkeypatch, wire, outbox)
    handle.write(b"x")
    for _ in range(3):
        await asyncio.sleep(0)
    assert wire.sends == [b"x"]


async def test_what_is_sent_at_once_stays_behind_what_was_written_in_this_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire, outbox = Wire(), Outbox()
    handle, _ = connect(monkeypatch, wire, outbox)
    handle.send(b"1")
    handle.write(b"2")
    handle.send(b"3")
    assert wire.sends == [b"1"]
    await asyncio.sleep(0)
    handle.send(b"4")
    assert wire.sends == [b"1", b"23", b"4"]


async def test_a_ping_of_the_server_s_own_is_not_overtaken_by_half(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire()
    handle, socket = connect(monkeypatch, wire, Outbox())
    handle.send(b"1")
    handle.disturb()
    socket.transport.write(b"ping")
    handle.send(b"2")
    assert (wire.sends, socket.transport.written) == ([b"1"], [b"ping", b"2"])


async def test_nothing_is_sent_after_the_connection_has_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire()
    handle, socket = connect(monkeypatch, wire, Outbox())
    handle.send(b"1")
    handle.disturb()
    socket.state = Socket.STATE_CLOSING
    handle.send(b"2")
    assert (wire.sends, socket.transport.written) == ([b"1"], [])


async def test_a_client_that_stops_reading_and_goes_on_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    handle, _ = connect(monkeypatch, Wire(), Outbox())
    told: list[bool] = []
    handle.listen(told.append)
    handle.pauseProducing()
    handle.resumeProducing()
    assert told == [True, False]


class Reader:
    """A transport that can be told to stop reading."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's names
        self.told.append("pause")

    def resumeProducing(self) -> None:  # noqa: N802
        self.told.append("resume")


@pytest.mark.parametrize("answers", [True, False])
def test_who_was_not_heard_between_two_pings_is_let_go(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    wire = Wire()
    handle, _ = connect(monkeypatch, wire, Outbox())
    dropped: list[bool] = []
    monkeypatch.setattr(daphne.WebSocketProtocol, "dataReceived", lambda self, data: None)
    monkeypatch.setattr(daphne.WebSocketProtocol, "dropConnection", lambda self, abort: dropped.append(abort))
    socket = Socket.__new__(Socket)
    socket.handle, socket.state = handle, Socket.STATE_OPEN
    socket.current_frame, socket.data = None, b""
    assert socket.ping()
    if answers:
        socket.dataReceived(b"\x8a\x80\0\0\0\0")
    assert socket.ping() is answers
    assert dropped == ([] if answers else [True])
    assert wire.sends == [b"\x89\x00"] * (1 + answers)
    socket.state = Socket.STATE_CLOSED
    assert not socket.ping()


def test_no_more_is_read_from_a_client_that_is_too_far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daphne, "INBOUND_LIMIT", 3)
    monkeypatch.setattr(
        daphne.WebSocketProtocol,
        "onMessage",
        lambda self, payload, binary: self.application_queue.put_nowait(payload),
    )
    socket = Socket.__new__(Socket)
    socket.transport, socket.application_queue = Reader(), asyncio.Queue()
    for number in range(4):
        socket.onMessage(b"%d" % number, False)
    assert socket.transport.told == ["pause", "pause"], "at the limit, and at what came in the same packet"
    for _ in range(4):
        socket.application_queue.get_nowait()
        socket.read_on()
    assert socket.transport.told[2:] == ["resume"]


def test_the_insides_of_the_locked_releases_are_known() -> None:
    check_insides()


def test_an_unknown_release_is_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        daphne, "RELIED_ON", (*daphne.RELIED_ON, (daphne.WebSocketProtocol, ("sendInAnotherWay",), ()))
    )
    with pytest.raises(UnknownInsides, match=r"daphne 4.*sendInAnotherWay is not there"):
        check_insides()
