"""The broker on a real Redis and on the in-memory layer: it may lose hints, and never ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from channels.layers import BaseChannelLayer, InMemoryChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from realtime.feeds import broker as broker_module
from realtime.feeds.announcement import (
    CARRIED_LIMIT_CHARACTERS,
    Announcement,
    from_message,
    to_message,
)
from realtime.feeds.broker import Broker, group_of
from realtime.feeds.layer import PipelinedPubSubLayer
from realtime.feeds.publication import Publication, Status
from realtime.feeds.supervision import Supervisor
from tests.services import Redis

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


async def test_an_announcement_reaches_those_who_joined_and_nobody_else() -> None:
    layer = InMemoryChannelLayer(capacity=1000)
    async with process(layer) as (one, one_heard), process(layer) as (two, two_heard):
        await one.join(1)
        await two.join(2)
        two.announce(announcement(1, 1))
        one.announce(announcement(2, 7))
        await one_heard.until(lambda offsets: offsets == [1])
        await two_heard.until(lambda offsets: offsets == [7])


async def test_who_left_does_not_hear_and_who_came_back_does() -> None:
    layer = InMemoryChannelLayer(capacity=1000)
    async with process(layer) as (broker, heard):
        await broker.join(1)
        broker.leave(1)
        await until(lambda: "feed.1" not in layer.groups)
        await broker.join(1)
        broker.announce(announcement(1, 2))
        await heard.until(lambda offsets: offsets == [2])


async def test_processes_hear_one_another_through_redis(redis_url: str) -> None:
    async with process(redis_layer(redis_url)) as (one, heard), process(redis_layer(redis_url)) as (two, _):
        await one.join(1)
        for offset in range(1, 51):
            two.announce(announcement(1, offset))
        await heard.until(lambda offsets: offsets == list(range(1, 51)))


async def test_a_redis_that_dies_and_comes_back_is_joined_again(own_redis: Redis) -> None:
    layer = redis_layer(own_redis.url)
    async with process(layer) as (broker, heard):
        await broker.join(1)
        own_redis.kill()
        broker.announce(announcement(1, 1))
        await until(lambda: not broker.connected)
        await broker.join(2)  # does not raise, does not hang
        own_redis.start()
        await until(lambda: broker.connected)

        async def announce_until_heard() -> None:
            offset = 2
            while not heard.offsets:
                broker.announce(announcement(2, offset))
                offset += 1
                await asyncio.sleep(0.05)

        async with asyncio.timeout(30):
            await announce_until_heard()
        assert broker.dropped >= 1


class FragileLayer(InMemoryChannelLayer):
    """In memory, with the ways in which a network fails."""

    refuses = False  # whatever is asked of it
    is_silent = False  # takes everything and delivers nothing, until it is connected to anew
    joining_takes_s = 0.0

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        if self.refuses:
            raise ConnectionError("refused")
        if not self.is_silent:
            await super().send(channel, message)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if self.refuses:
            raise ConnectionError("refused")
        await super().group_send(group, message)

    async def group_add(self, group: str, channel: str) -> None:
        await asyncio.sleep(self.joining_takes_s)
        await super().group_add(group, channel)

    async def flush(self) -> None:
        self.is_silent = False
        await super().flush()


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "RETRY_S", 0.02)
    monkeypatch.setattr(broker_module, "ECHO_EVERY_S", 0.05)
    monkeypatch.setattr(broker_module, "SILENCE_LIMIT_S", 0.5)


async def test_a_layer_that_fell_silent_is_connected_to_anew(impatience: None) -> None:
    layer = FragileLayer(capacity=1000)
    async with process(layer) as (broker, heard):
        await broker.join(1)
        layer.is_silent = True
        async with asyncio.timeout(30):
            await broker.away.wait()
        await until(lambda: broker.connected and "feed.1" in layer.groups)
        broker.announce(announcement(1, 2))
        await heard.until(lambda offsets: offsets == [2])


async def test_who_only_announces_drops_what_waits_and_goes_on_when_the_layer_is_back(
    impatience: None,
) -> None:
    layer, supervisor = FragileLayer(capacity=1000), Supervisor()
    broker = Broker(layer, supervisor)
    try:
        layer.refuses = True
        for offset in range(100):
            broker.announce(announcement(1, offset))
        await until(lambda: broker.dropped == 100)
        assert not broker.connected
        layer.refuses = False
        broker.announce(announcement(1, 100))
        await until(lambda: broker.connected)
        assert broker.dropped == 100
    finally:
        await supervisor.aclose()


async def test_more_feeds_than_can_be_joined_within_one_time_limit_are_joined_again(
    impatience: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "LAYER_TIMEOUT_S", 0.3)
    monkeypatch.setattr(broker_module, "SILENCE_LIMIT_S", 30)
    layer = FragileLayer(capacity=1000)
    async with process(layer) as (broker, _):
        layer.refuses = True
        async with asyncio.timeout(30):
            await broker.away.wait()
        for feed_id in range(1, 31):
            await broker.join(feed_id)
        layer.joining_takes_s = 0.02
        layer.refuses = False
        await until(lambda: broker.connected)
        assert all(group_of(feed_id) in layer.groups for feed_id in range(1, 31))


async def test_a_layer_message_that_nobody_here_wrote_is_ignored() -> None:
    layer = InMemoryChannelLayer(capacity=1000)
    async with process(layer) as (broker, heard):
        await broker.join(1)
        for message in ({"type": "websocket.close"}, {"type": "feed.announce", "feed": "x"}):
            await layer.group_send("feed.1", message)
        broker.announce(announcement(1, 3))
        await heard.until(lambda offsets: offsets == [3])


def test_a_large_value_is_announced_by_its_position_alone() -> None:
    sent = to_message(announcement(1, 5, "x" * (CARRIED_LIMIT_CHARACTERS + 1)))
    assert "items" not in sent
    assert from_message(sent).behind == ("e", 5)


moments = st.none() | st.datetimes(timezones=st.just(UTC))


@given(
    data=st.lists(st.text(max_size=20), max_size=3),
    status=st.none()
    | st.builds(
        Status,
        st.integers(0, 2**40),
        st.sampled_from(["fresh", "stale", "failing", "paused"]),
        moments,
        moments,
        st.text(max_size=20),
    ),
)
def test_a_message_gives_the_announcement_back(data: list[str], status: Any) -> None:
    publications = tuple(Publication(3, "e", offset, NOW, text) for offset, text in enumerate(data, 1))
    sent = Announcement(3, publications, status)
    assert from_message(to_message(sent)) == sent


async def test_what_is_announced_together_reaches_redis_in_one_round_trip_and_arrives_in_order(
    redis_url: str,
) -> None:
    sending, hearing = redis_layer(redis_url), redis_layer(redis_url)
    channel = await hearing.new_channel()
    for feed_id in (1, 2):
        await hearing.group_add(group_of(feed_id), channel)
    messages = [(group_of(1 + number % 2), {"type": "x", "number": number}) for number in range(500)]
    await sending.group_send_many(messages)
    async with asyncio.timeout(30):
        heard = [(await hearing.receive(channel))["number"] for _ in messages]
    assert heard == list(range(500))
    for layer in (sending, hearing):
        await layer.flush()
