"""The layer's shard: how it sends, and how its receiver and those who subscribe share one connection."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis as Client
from redis.asyncio import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.feeds import layer as layer_module
from realtime.feeds.announcement import group_of
from tests.feeds.broking import redis_layer, until
from tests.services import Redis


async def test_what_is_announced_together_reaches_redis_in_one_round_trip_and_arrives_in_order(
    redis_url: str,
) -> None:
    sending, hearing = redis_layer(redis_url), redis_layer(redis_url)
    channel = await hearing.new_channel()
    for feed_id in (1, 2):
        await hearing.group_add(group_of(feed_id), channel)
    messages = [(group_of(1 + number % 2), {"type": "x", "number": number}) for number in range(500)]
    with Client.from_url(redis_url) as client:
        before = client.info("stats")["total_reads_processed"]
        await sending.group_send_many(messages)
        reads = client.info("stats")["total_reads_processed"] - before
    assert reads < len(messages) / 2
    async with asyncio.timeout(30):
        heard = [(await hearing.receive(channel))["number"] for _ in messages]
    assert heard == list(range(500))
    for layer in (sending, hearing):
        await layer.flush()


async def test_a_layer_s_receiver_goes_on_after_whatever_a_connection_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layer_module, "RETRY_S", 0)
    failures: list[Exception] = [RedisConnectionError(), ConnectionResetError(), TimeoutError()]
    received = asyncio.Event()

    class Failing:
        subscribed = True
        connection = SimpleNamespace(is_connected=True)

        async def get_message(self, **options: Any) -> dict[str, Any]:
            if failures:
                raise failures.pop()
            await asyncio.sleep(0)
            return {"channel": b"nobody's", "data": b""}

    shard = layer_module.Shard({"address": "redis://nowhere.invalid"}, None)
    monkeypatch.setattr(shard, "_pubsub", Failing())
    monkeypatch.setattr(shard, "_receive_message", lambda message: received.set() or receiving.cancel())
    receiving = asyncio.create_task(shard._do_receiving())
    async with asyncio.timeout(30):
        await asyncio.wait({receiving})
    assert received.is_set()


async def test_a_lost_connection_is_made_anew_once_and_subscribed_to_everything(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = redis_layer(own_redis.url)
    channel = await layer.new_channel()
    await layer.group_add("before", channel)
    connects, connect, may_connect = [], Connection._connect, asyncio.Event()

    async def held_up(self: Connection) -> None:
        connects.append(self)
        await may_connect.wait()
        await connect(self)

    monkeypatch.setattr(Connection, "_connect", held_up)
    with Client.from_url(own_redis.url) as client:
        client.client_kill_filter(_type="pubsub")
    await until(lambda: bool(connects))
    adding = asyncio.create_task(layer.group_add("meanwhile", channel))
    await asyncio.sleep(0)  # as far as it comes
    may_connect.set()
    async with asyncio.timeout(30):
        await adding
        for group in ("before", "meanwhile"):
            assert connects.count(connects[0]) == 1
            await layer.group_send(group, {"type": group})
            assert await layer.receive(channel) == {"type": group}
    await layer.flush()
