"""One client's queue: bounded, in order, and never a burden to anybody else."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from realtime.delivery.connection import Connection
from realtime.delivery.frames import Event, gone_event
from realtime.errors import FeedGone, HeadwaterError, SlowReader
from realtime.feeds.position import Position

LIMIT = 1000


class Client:
    """Takes what is written, as fast as it is allowed to."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.reads = asyncio.Event()
        self.reads.set()

    async def write(self, text: str) -> None:
        await self.reads.wait()
        self.got.append(text)


def event(number: int, size: int = 100) -> Event:
    return Event("update", 1, "feed", Position("e", number), str(number).ljust(size))


def connect(client: Client, *, latest_only: Collection[int] = ()) -> Connection[str]:
    return Connection(
        lambda event: event.plain, client.write, feeds=1, latest_only=latest_only, limit_bytes=LIMIT
    )


async def ending(task: asyncio.Task[HeadwaterError]) -> HeadwaterError:
    async with asyncio.timeout(30):
        return await task


async def test_a_slow_reader_is_closed_and_its_neighbour_is_not() -> None:
    slow, neighbour = Client(), Client()
    slow.reads.clear()
    connections = [connect(slow), connect(neighbour)]
    tasks = [asyncio.create_task(connection.run()) for connection in connections]
    for number in range(100):
        for connection in connections:
            connection.deliver(event(number))
        await asyncio.sleep(0)
    assert isinstance(await ending(tasks[0]), SlowReader)
    assert slow.got == []
    connections[1].end(HeadwaterError("enough"))
    await ending(tasks[1])
    assert [int(text) for text in neighbour.got] == list(range(100))


async def test_one_value_larger_than_the_limit_is_still_delivered() -> None:
    client = Client()
    connection = connect(client)
    connection.deliver(event(1, size=LIMIT * 3))
    connection.end(HeadwaterError("enough"))
    await connection.run()
    assert len(client.got) == 1


async def test_a_long_start_is_no_reason_to_be_closed_but_it_waits_for_room() -> None:
    client = Client()
    client.reads.clear()
    connection = connect(client)
    task = asyncio.create_task(connection.run())
    for number in range(50):
        connection.start(event(number))
    room = asyncio.create_task(connection.drain())
    for _ in range(3):
        await asyncio.sleep(0)
    for number in range(50, 60):
        connection.deliver(event(number))
    assert connection.reason is None
    assert not room.done()
    client.reads.set()
    async with asyncio.timeout(30):
        await room
    connection.end(HeadwaterError("enough"))
    await ending(task)
    assert [int(text) for text in client.got] == list(range(60))


async def test_whoever_waits_for_room_is_told_when_the_client_goes() -> None:
    async def fail(text: str) -> None:
        raise ConnectionResetError

    connection: Connection[str] = Connection(lambda event: event.plain, fail, feeds=1, limit_bytes=LIMIT)
    for number in range(50):
        connection.start(event(number))
    room = asyncio.create_task(connection.drain())
    with pytest.raises(ConnectionResetError):
        await connection.run()
    with pytest.raises(HeadwaterError):
        async with asyncio.timeout(30):
            await room


async def test_whoever_waits_for_room_is_told_when_the_connection_ends_before_the_client_reads() -> None:
    client = Client()
    client.reads.clear()
    connection = connect(client)
    task = asyncio.create_task(connection.run())
    connection.start(event(1))
    room = asyncio.create_task(connection.drain())
    await asyncio.sleep(0)
    connection.end(HeadwaterError("signed out"))
    with pytest.raises(HeadwaterError, match="signed out"):
        async with asyncio.timeout(30):
            await room
    client.reads.set()
    await ending(task)
    assert [int(text) for text in client.got] == [1]


async def test_a_client_that_is_behind_on_a_latest_only_feed_skips_and_its_neighbour_does_not() -> None:
    slow, neighbour = Client(), Client()
    connections = [connect(client, latest_only={1}) for client in (slow, neighbour)]
    tasks = [asyncio.create_task(connection.run()) for connection in connections]
    for connection in connections:
        connection.deliver(event(0))
    await asyncio.sleep(0)
    slow.reads.clear()
    for number in range(1, 100):
        for connection in connections:
            connection.deliver(event(number))
        if number % 2:
            await asyncio.sleep(0)  # two values in one turn are no reason to skip
    slow.reads.set()
    for connection in connections:
        connection.end(HeadwaterError("enough"))
    for task in tasks:
        await ending(task)
    assert [int(text) for text in neighbour.got] == list(range(100))
    assert [int(text) for text in slow.got] == [0, 1, 99]


async def test_what_was_queued_before_the_end_is_sent_and_nothing_after_it() -> None:
    client = Client()
    connection = connect(client)
    connection.deliver(event(1))
    connection.deliver(gone_event(1, "feed"))
    connection.deliver(event(2))
    assert isinstance(await connection.run(), FeedGone)
    assert [int(text) for text in client.got] == [1]


async def test_silence_is_filled() -> None:
    beats: asyncio.Queue[str] = asyncio.Queue()
    connection: Connection[str] = Connection(lambda event: event.plain, beats.put, feeds=1, limit_bytes=LIMIT)
    task = asyncio.create_task(connection.run(silence_s=0.01, filler="beat"))
    async with asyncio.timeout(30):
        assert [await beats.get() for _ in range(3)] == ["beat"] * 3
    connection.end(HeadwaterError("enough"))
    await ending(task)


async def test_a_long_queue_does_not_keep_the_loop_from_others() -> None:
    client = Client()
    connection = connect(client)
    for number in range(1000):
        connection.start(event(number))
    task = asyncio.create_task(connection.run())
    turns = 0
    while len(client.got) < 1000:
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10
    connection.end(HeadwaterError("enough"))
    await ending(task)
