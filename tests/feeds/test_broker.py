"""The broker on a real Redis and on the in-memory layer: it may lose hints, and never ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from realtime.feeds import broker as broker_module
from realtime.feeds.announcement import (
    CARRIED_LIMIT_CHARACTERS,
    Announcement,
    from_message,
    to_message,
)
from realtime.feeds.publication import Publication, Status
from tests.feeds.broking import announcement, process, redis_layer, until
from tests.services import Redis

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_an_announcement_reaches_those_who_joined_and_nobody_else() -> None:
    layer = InMemoryChannelLayer(capacity=1000)
    async with process(layer) as (one, one_heard), process(layer) as (two, two_heard):
        await one.join(1)
        await two.join(2)
        two.announce(announcement(1, 1))
        one.announce(announcement(2, 7))
        await one_heard.until(lambda offsets: offsets == [1])
        await two_heard.until(lambda offsets: offsets == [7])


async def test_who_left_does_not_hear_and_who_came_back_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "ECHO_EVERY_S", 600)  # nothing else makes it look
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


def test_a_value_is_not_carried_with_an_info_that_is_too_large() -> None:
    info = "x" * CARRIED_LIMIT_CHARACTERS
    sent = to_message(Announcement(1, (Publication(1, "e", 5, NOW, "1", info),)))
    assert "items" not in sent
    assert from_message(sent).behind == ("e", 5)


def test_a_message_carries_nothing_for_an_info_and_tags_that_are_empty() -> None:
    assert to_message(announcement(1, 5))["items"] == [[5, NOW.isoformat(), "1"]]


moments = st.none() | st.datetimes(timezones=st.just(UTC))


@given(
    texts=st.lists(st.tuples(*[st.text(max_size=20)] * 3), max_size=3),
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
def test_a_message_gives_the_announcement_back(texts: list[tuple[str, str, str]], status: Any) -> None:
    publications = tuple(Publication(3, "e", offset, NOW, *each) for offset, each in enumerate(texts, 1))
    sent = Announcement(3, publications, status)
    assert from_message(to_message(sent)) == sent
