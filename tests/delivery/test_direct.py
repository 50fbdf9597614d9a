"""The fast way out: straight to the handle while the client reads, with bounded patience when it does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from realtime.delivery import direct
from realtime.delivery.direct import DirectConnection
from realtime.delivery.frames import Event, gone_event, text_frame, update_event
from realtime.errors import FeedGone, HeadwaterError, SlowReader
from realtime.feeds.position import Position
from realtime.feeds.publication import Publication

LIMIT = 1000


class Line:
    """A server's handle; the test says when the client keeps up."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.paused = False
        self.waiting = 0
        self.told: Callable[[bool], None] = lambda paused: None
        self._something = asyncio.Event()

    def listen(self, told: Callable[[bool], None]) -> None:
        self.told = told

    def write(self, frame: bytes) -> None:
        self.sent.append(frame)
        self._something.set()

    send = write

    async def has_sent(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.sent) < count:
                self._something.clear()
                await self._something.wait()

    def close(self, code: int, reason: str) -> None:
        raise AssertionError("the consumer's business")

    def pause(self, waiting: int = 70_000) -> None:
        self.paused, self.waiting = True, waiting
        self.told(True)

    def resume(self) -> None:
        self.paused, self.waiting = False, 0
        self.told(False)


def event(number: int, size: int = 100) -> Event:
    return Event("update", 1, "feed", Position("e", number), str(number).ljust(size))


def update(number: int, feed_id: int = 2) -> Event:
    """A real one, whose message can be read."""
    return update_event("feed", Publication(feed_id, "e", number, datetime.now(UTC), f'"{"x" * 100}"'))


def message(frame: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(frame[frame.index(b'{"') :])
    return content


def numbers(line: Line) -> list[int]:
    return [int(frame[2:].lstrip(b"~\x00").decode("latin1")) for frame in line.sent]


class Client:
    """A connection on a line, and why it ended."""

    def __init__(self, *, feeds: int = 1, stall_s: float = 30, latest_only: Collection[int] = ()) -> None:
        self.line = Line()
        self.reasons: list[HeadwaterError] = []
        self.connection = DirectConnection(
            self.line,
            feeds=feeds,
            latest_only=latest_only,
            limit_bytes=LIMIT,
            stall_s=stall_s,
            ended=self.reasons.append,
        )


async def test_a_frame_goes_straight_to_the_handle_and_is_the_same_for_all() -> None:
    clients = [Client(), Client()]
    update = event(1)
    for client in clients:
        client.connection.deliver(update)
    assert clients[0].line.sent[0] is clients[1].line.sent[0]


async def test_what_comes_while_the_client_is_behind_follows_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(direct, "PORTION_BYTES", 250)
    client = Client()
    client.connection.deliver(event(0))
    client.line.pause()
    for number in range(1, 8):
        client.connection.deliver(event(number))
    assert numbers(client.line) == [0]
    client.line.resume()
    client.connection.deliver(event(8))
    assert numbers(client.line) == [0, 1, 2, 3], "a portion, and what is new waits its turn"
    await client.line.has_sent(9)
    client.connection.deliver(event(9))
    assert numbers(client.line) == list(range(10))


async def test_a_client_that_falls_behind_again_while_it_catches_up_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(direct, "PORTION_BYTES", 250)
    client = Client()
    client.line.pause()
    for number in range(8):
        client.connection.deliver(event(number))
    client.line.resume()
    client.line.pause()
    await asyncio.sleep(0)
    assert numbers(client.line) == [0, 1, 2]
    client.line.resume()
    await client.line.has_sent(8)
    assert numbers(client.line) == list(range(8))


async def test_too_much_waiting_ends_it_and_its_memory_is_given_back() -> None:
    slow, neighbour = Client(), Client()
    slow.line.pause()
    for number in range(20):
        for client in (slow, neighbour):
            client.connection.deliver(event(number))
    assert [type(reason) for reason in slow.reasons] == [SlowReader]
    assert slow.line.sent == []
    assert not slow.connection._backlog
    assert numbers(neighbour.line) == list(range(20))


async def test_one_value_larger_than_the_limit_is_still_delivered() -> None:
    client = Client()
    client.line.pause()
    client.connection.deliver(event(1, size=LIMIT * 3))
    client.line.resume()
    assert len(client.line.sent) == 1
    assert client.reasons == []


async def test_a_client_that_reads_nothing_is_let_go_and_one_that_reads_slowly_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    stalled, slow = Client(stall_s=30), Client(stall_s=30)
    for client in (stalled, slow):
        client.line.pause()
    for _ in range(3):
        slow.line.waiting -= 1
        now += 31
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert isinstance(stalled.reasons[0], SlowReader)
    assert slow.reasons == []
    slow.connection.release()


async def test_the_start_waits_for_a_client_that_does_not_keep_up() -> None:
    client = Client()

    async def tell() -> None:
        client.connection.start(event(0))
        asyncio.get_running_loop().call_soon(client.line.pause)  # the server says so when the turn is over
        await client.connection.drain()

    room = asyncio.create_task(tell())
    for _ in range(3):
        await asyncio.sleep(0)
    for number in range(1, 50):
        client.connection.start(event(number))
    assert not room.done()
    client.line.resume()
    async with asyncio.timeout(30):
        await room
    assert numbers(client.line) == list(range(50))
    assert client.reasons == [], "a start counts for nothing"


async def test_a_start_is_not_held_for_ever_by_feeds_that_are_always_ahead_of_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(direct, "PORTION_BYTES", 1)
    client = Client(latest_only={2, 3})
    client.line.pause()
    client.connection.start(event(0))
    room = asyncio.create_task(client.connection.drain())
    for _ in range(3):
        await asyncio.sleep(0)
    for number in range(1, 10):
        for feed_id in (2, 3):
            client.connection.deliver(update(number, feed_id))
    for _ in range(2):
        client.line.resume()
        client.line.pause()
        client.connection.deliver(update(10, 2))
    assert len(client.line.sent) == 2
    async with asyncio.timeout(30):
        await room
    assert client.connection.held


async def test_a_client_that_is_behind_on_a_latest_only_feed_skips_and_is_never_let_go_for_it() -> None:
    behind, plain, reads = Client(latest_only={2}), Client(), Client(latest_only={2})
    for client in (behind, plain):
        client.line.pause()
    for number in range(1, 101):
        for client in (behind, plain, reads):
            client.connection.deliver(update(number))
    assert [type(reason) for reason in plain.reasons] == [SlowReader]
    behind.line.resume()
    behind.connection.deliver(update(101))
    assert [(told["type"], told["offset"]) for told in map(message, behind.line.sent)] == [
        ("reset", 100),
        ("update", 101),
    ]
    assert behind.reasons == []
    assert [message(frame)["offset"] for frame in reads.line.sent] == list(range(1, 101))


async def test_whoever_waits_for_room_is_told_when_the_connection_ends() -> None:
    client = Client()
    client.line.pause()
    room = asyncio.create_task(client.connection.drain())
    await asyncio.sleep(0)
    client.connection.end(HeadwaterError("gone"))
    with pytest.raises(HeadwaterError, match="gone"):
        async with asyncio.timeout(30):
            await room


async def test_the_last_deleted_feed_ends_it_once() -> None:
    client = Client(feeds=2)
    client.connection.deliver(gone_event(1, "one"))
    assert client.reasons == []
    client.connection.deliver(gone_event(2, "two"))
    client.connection.end(HeadwaterError("later"))
    client.connection.deliver(event(1))
    assert [type(reason) for reason in client.reasons] == [FeedGone]
    assert len(client.line.sent) == 1


@pytest.mark.parametrize(("size", "head"), [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_a_frame_is_what_a_client_library_reads(size: int, head: int) -> None:
    frame = text_frame("é" * (size // 2) + "x" * (size % 2))
    assert len(frame) == head + size
    client = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
    client.receive_data(frame)
    (received,) = client.events_received()
    assert isinstance(received, Frame)
    assert (received.opcode, len(received.data), received.fin) == (Opcode.TEXT, size, True)
