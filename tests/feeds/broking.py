"""Brokers for tests: what they hear, and a layer that fails as it is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from channels.layers import BaseChannelLayer, InMemoryChannelLayer

from realtime.feeds.announcement import Announcement
from realtime.feeds.broker import Broker
from realtime.feeds.layer import PipelinedPubSubLayer
from realtime.feeds.publication import Publication
from realtime.feeds.supervision import Supervisor

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def announcement(feed_id: int, offset: int, data: str = "1") -> Announcement:
    return Announcement(feed_id, (Publication(feed_id, "e", offset, NOW, data),))


def redis_layer(url: str) -> BaseChannelLayer:
    return PipelinedPubSubLayer(hosts=[{"address": url, "socket_timeout": 15}])


class Heard:
    """What a broker heard, and a way to wait for it."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self._something = asyncio.Event()

    def __call__(self, announcement: Announcement) -> None:
        self.offsets += [publication.offset for publication in announcement.publications]
        self._something.set()

    async def until(self, condition: Callable[[list[int]], bool], within_s: float = 30) -> None:
        async with asyncio.timeout(within_s):
            while not condition(self.offsets):
                await self._something.wait()
                self._something.clear()


@asynccontextmanager
async def process(layer: BaseChannelLayer) -> AsyncIterator[tuple[Broker, Heard]]:
    """One process's broker that hears."""
    supervisor, heard = Supervisor(), Heard()
    broker = Broker(layer, supervisor)
    broker.listen(heard)
    try:
        yield broker, heard
    finally:
        await broker.aclose()
        await supervisor.aclose()


async def until(condition: Callable[[], bool], within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - a flag of the code under test, not of ours
            await asyncio.sleep(0.02)


class FragileLayer(InMemoryChannelLayer):
    """In memory, with the ways in which a network fails. Its calls go by their names.

    asked      how often each was called
    failures   how many more times each fails
    hanging    those that do not return until they are let go
    echoes     that were sent; who sends one goes on before a test sees it here
    """

    def __init__(self) -> None:
        super().__init__(capacity=1000)
        self.asked: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.hanging: dict[str, asyncio.Event] = {}
        self.echoes: list[dict[str, Any]] = []
        self.joining_takes_s = 0.0
        self.is_silent = False  # takes everything and delivers nothing, until it is connected to anew

    def hang(self, call: str) -> asyncio.Event:
        """Have calls hang until the event is set."""
        return self.hanging.setdefault(call, asyncio.Event())

    async def _pass(self, call: str) -> None:
        self.asked[call] += 1
        if self.failures[call]:
            self.failures[call] -= 1
            raise ConnectionError("refused")
        if call in self.hanging:
            await self.hanging[call].wait()

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        if message["type"] == "feed.echo":
            await self._pass("send")
        if not self.is_silent:
            await super().send(channel, message)
            await asyncio.sleep(0.01)  # as with Redis, it may be heard before this returns
        if message["type"] == "feed.echo":
            self.echoes.append(message)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._pass("group_send")
        await super().group_send(group, message)

    async def group_add(self, group: str, channel: str) -> None:
        for call in ("group_add", f"group_add {group}"):
            await self._pass(call)
        await asyncio.sleep(self.joining_takes_s)
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._pass("group_discard")
        await super().group_discard(group, channel)

    async def new_channel(self, prefix: str = "specific.") -> Any:
        await self._pass("new_channel")
        return await super().new_channel(prefix)

    async def receive(self, channel: str) -> Any:
        await self._pass("receive")
        return await super().receive(channel)

    async def flush(self) -> None:
        await self._pass("flush")
        self.is_silent = False
        await super().flush()
