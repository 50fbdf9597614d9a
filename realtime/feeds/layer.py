"""channels-redis' pub/sub layer, cheaper where it costs: fewer round trips, and no asking while it is quiet.

Its own `group_send` waits for Redis' answer to each message, under a lock: a hundred feeds that change at
once would reach the other processes one by one, and each of their sockets would be written to a hundred
times. Its own receiver asks for a message ten times a second. The lock file pins what is relied on here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer, RedisSingleShardConnection
from redis.asyncio.client import PubSub
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

WAIT_S = 5.0
NOTHING_SUBSCRIBED_S = 0.1
RETRY_S = 0.5


class Subscriptions(PubSub):
    """Lets its connection go when it fails. Who comes next connects anew."""

    async def _reconnect(self, conn: AbstractConnection, *args: Any, **kwargs: Any) -> None:
        await conn.disconnect()


class Shard(RedisSingleShardConnection):  # type: ignore[misc]
    """One Redis: sends many messages at once, and waits for the next one.

    The receiver and those who subscribe share one connection, and Redis' client lets each connect it anew:
    two at a time would leave a connection behind, or read the answers to each other's greeting.
    """

    _redis: Any
    _pubsub: Any

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._connecting = asyncio.Lock()

    async def subscribe(self, channel: str) -> None:
        async with self._connecting:
            await super().subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        async with self._connecting:
            await super().unsubscribe(channel)

    async def publish_many(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish all of these in one round trip."""
        async with self._lock:
            self._ensure_redis()
            async with self._redis.pipeline(transaction=False) as pipeline:
                for channel, data in messages:
                    pipeline.publish(channel, data)
                await pipeline.execute()

    def _ensure_redis(self) -> None:
        super()._ensure_redis()
        if not isinstance(self._pubsub, Subscriptions):
            self._pubsub = Subscriptions(self._redis.connection_pool)

    async def _do_receiving(self) -> None:
        away = False
        while True:
            try:
                if self._pubsub is None or not self._pubsub.subscribed:
                    await asyncio.sleep(NOTHING_SUBSCRIBED_S)
                    continue
                if not self._pubsub.connection.is_connected:
                    async with self._connecting:
                        await self._pubsub.connect()  # which subscribes again
                message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=WAIT_S)
            except (RedisError, OSError) as error:
                if not away:
                    logger.warning("redis_away while=receive %s", type(error).__name__)
                away = True
                await asyncio.sleep(RETRY_S)
            else:
                away = False
                self._receive_message(message)


class PipelinedPubSubLayer(RedisPubSubChannelLayer):  # type: ignore[misc]
    """As the layer it derives from, with `group_send_many`."""

    async def group_send_many(self, messages: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """`group_send` for all of these (group, message), in this order. Raises what Redis' client raises."""
        layer = self._get_layer()
        by_shard: dict[Shard, list[tuple[str, bytes]]] = {}
        for group, message in messages:
            channel = layer._get_group_channel_name(group)
            by_shard.setdefault(layer._get_shard(channel), []).append((channel, self.serialize(message)))
        for shard, some in by_shard.items():
            await shard.publish_many(some)

    def _get_layer(self) -> Any:
        layer = super()._get_layer()
        if not isinstance(layer._shards[0], Shard):
            layer._shards = [Shard(shard.host, layer) for shard in layer._shards]
        return layer
