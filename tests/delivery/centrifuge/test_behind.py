"""A client that does not read for a while, and what it is told then."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from realtime.delivery.centrifuge import commands
from realtime.delivery.centrifuge.door import Door
from realtime.delivery.centrifuge.session import Session
from realtime.delivery.centrifuge.websocket import PLAIN
from realtime.delivery.connection import Connection
from realtime.delivery.frames import Event
from tests.delivery.conftest import House


class Heard(Session):
    """One that says how far of its feed it was told."""

    offset = 0

    def deliver(self, *events: Event) -> None:
        super().deliver(*events)
        self.offset = max([self.offset, *(each.position.offset for each in events if each.position)])


class Slow:
    """A client that takes what it is sent only while `reading` is set."""

    def __init__(self, house: House) -> None:
        self.told: list[dict[str, Any]] = []
        self.reading, self.offered = asyncio.Event(), asyncio.Event()
        self._house = house
        self.session = Heard(Door.of(house.feeds), PLAIN["json"])
        self.session.out = self.connection = Connection[str](
            self.session.render,
            self._write,
            feeds=math.inf,
            limit_bytes=1_000_000,
            latest_only=self.session.latest_only,
        )

    async def _write(self, payload: str) -> None:
        self.offered.set()
        await self.reading.wait()
        self.told.append(json.loads(payload))

    async def ask(self, number: int, method: str, **params: Any) -> None:
        await commands.hear(self.session, json.dumps({"id": number, method: params}))

    async def hear(self, slug: str, value: Any) -> None:
        """Publish, and return when it was told or waits."""
        position = await self._house.publish(slug, value)
        async with asyncio.timeout(30):
            while not position.endswith(f":{self.session.offset}"):  # noqa: ASYNC110 - the code's own state
                await asyncio.sleep(0.01)

    async def behind(self) -> None:
        """Stop reading, and return when something waits for it."""
        await self.connection.drain()
        self.reading.clear()
        self.offered.clear()
        self.session.push({"message": {"data": "1"}})
        await self.offered.wait()


@pytest.fixture
async def slow(house: House) -> AsyncIterator[Slow]:
    one = Slow(house)
    one.reading.set()
    writing = asyncio.create_task(one.connection.run())
    yield one
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    one.session.leave()


async def test_who_subscribes_anew_while_behind_ends_with_the_newest_value(house: House, slow: Slow) -> None:
    await house.add_feed("lab", 0, latest_only=True, recovery="cache")
    await slow.ask(1, "connect")
    await slow.ask(2, "subscribe", channel="feed:lab", recover=True)
    await slow.behind()
    top = len(slow.told)
    await slow.hear("lab", 1)
    await slow.ask(3, "unsubscribe", channel="feed:lab")
    await slow.ask(4, "subscribe", channel="feed:lab", recover=True)
    await slow.hear("lab", 2)
    slow.reading.set()
    await slow.connection.drain()
    assert [each.get("id") for each in slow.told[top:]] == [None, 3, 4, None]
    assert slow.told[-2]["subscribe"]["publications"][0]["data"] == 1
    assert slow.told[-1]["push"]["pub"]["data"] == 2
