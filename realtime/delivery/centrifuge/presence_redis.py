"""Presence in Redis, for many processes.

Two keys a feed: a hash from clients to their description, and a sorted set of when each is forgotten, by
Redis' own clock. Whoever added a client refreshes it; the clients of a process that was killed are forgotten
after `EXPIRY_S`. What is here is what this process knows anyway, so nothing is lost with a Redis that is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from realtime.errors import Unavailable
from realtime.feeds.shared_reads import SharedReads
from realtime.feeds.supervision import Supervisor

logger = logging.getLogger(__name__)

EXPIRY_S = 60
REFRESH_EVERY_S = 20.0
# For one round trip, and for what a client waits at most until others see it.
TIMEOUT_S = 3.0
ADD_TIMEOUT_S = 1.0
END_TIMEOUT_S = 1.0
RETRY_S = 0.5
PORTION = 500

Key = tuple[int, str]  # a feed and a client

# In one step, so that nobody is forgotten who is refreshed at the same moment.
FORGET = """
local forgotten = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1])
for _, client in ipairs(forgotten) do redis.call('HDEL', KEYS[1], client) end
if #forgotten > 0 then redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[1]) end
"""


class RedisPresence:
    """See `Presence`. One task writes, all that changed meanwhile in one round trip and in order."""

    def __init__(self, url: str, supervisor: Supervisor) -> None:
        # Its types say for every command that it may be the sync client's.
        self._redis: Any = Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 1),  # what Redis has closed meanwhile is replaced once, at once
        )
        self._here: dict[Key, str] = {}
        self._changed: set[Key] = set()
        self._writing: set[Key] = set()
        self._due: deque[Key] = deque()
        self._refresh_at = 0.0
        self._news = asyncio.Event()
        self._written: dict[Key, asyncio.Future[None]] = {}
        self._works = True
        self._reads = SharedReads(self._load, batch_limit=50)
        supervisor.spawn("presence", self._keep)

    async def add(self, feed_id: int, client: str, info: str) -> None:
        key = (feed_id, client)
        self._here[key] = info
        self._change(key)
        if not self._works:
            return
        written = self._written.get(key)
        if written is None:
            written = self._written[key] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait((written,), timeout=ADD_TIMEOUT_S)
        except asyncio.CancelledError:
            self.remove(feed_id, client)
            raise

    def remove(self, feed_id: int, client: str) -> None:
        if self._here.pop((feed_id, client), None) is not None:
            self._change((feed_id, client))

    async def clients(self, feed_id: int) -> dict[str, str]:
        return await self._reads.ask(feed_id) or {}

    async def aclose(self) -> None:
        self._changed.update(self._here)
        self._here.clear()
        self._news.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                while self._works and (self._changed or self._writing):  # noqa: ASYNC110 - at most a second, once
                    await asyncio.sleep(0.01)
        await self._reads.aclose()
        await self._redis.aclose()

    def _change(self, key: Key) -> None:
        self._changed.add(key)
        self._news.set()

    async def _keep(self) -> None:
        """Writes what changed at once, and everything that is here every `REFRESH_EVERY_S`."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(self._refresh_at - loop.time(), 0)):
                    await self._news.wait()
            self._news.clear()
            if loop.time() >= self._refresh_at:
                self._refresh_at = loop.time() + REFRESH_EVERY_S
                self._due = deque(self._here)
            while keys := self._take():
                self._writing = keys
                try:
                    async with asyncio.timeout(TIMEOUT_S):
                        await self._write(keys)
                except (RedisError, OSError, TimeoutError) as error:
                    self._failed(keys, error)
                    await asyncio.sleep(RETRY_S)
                else:
                    self._succeeded(keys)

    def _take(self) -> set[Key]:
        """What to write next: news first, then who is to be refreshed and still here."""
        keys: set[Key] = set()
        while self._changed and len(keys) < PORTION:
            keys.add(self._changed.pop())
        while self._due and len(keys) < PORTION:
            key = self._due.popleft()
            if key in self._here:
                keys.add(key)
        return keys

    def _failed(self, keys: set[Key], error: Exception) -> None:
        if self._works:
            logger.warning("presence_away %s", type(error).__name__)
        self._works = False
        self._writing = set()
        self._changed |= keys
        self._release(list(self._written))

    def _succeeded(self, keys: set[Key]) -> None:
        self._writing = set()
        if not self._works:
            logger.warning("presence_back")
            self._works = True
            self._due = deque(self._here)  # it may have come back empty
        self._release(keys)

    def _release(self, keys: Iterable[Key]) -> None:
        for key in keys:
            written = self._written.pop(key, None)
            if written is not None and not written.done():
                written.set_result(None)

    async def _write(self, keys: Collection[Key]) -> None:
        """Make Redis have of these clients what is here."""
        now, _ = await self._redis.time()
        feeds: dict[int, list[str]] = {}
        for feed_id, client in keys:
            feeds.setdefault(feed_id, []).append(client)
        async with self._redis.pipeline(transaction=True) as pipeline:
            for feed_id, clients in feeds.items():
                infos = {
                    client: self._here[feed_id, client]
                    for client in clients
                    if (feed_id, client) in self._here
                }
                gone = [client for client in clients if client not in infos]
                info_key, until_key = _keys(feed_id)
                if infos:
                    pipeline.hset(info_key, mapping=infos)
                    pipeline.zadd(until_key, dict.fromkeys(infos, now + EXPIRY_S))
                if gone:
                    pipeline.hdel(info_key, *gone)
                    pipeline.zrem(until_key, *gone)
                pipeline.eval(FORGET, 2, info_key, until_key, now)
                pipeline.expire(info_key, EXPIRY_S)
                pipeline.expire(until_key, EXPIRY_S)
            await pipeline.execute()

    async def _load(self, feed_ids: Sequence[int]) -> dict[int, dict[str, str]]:
        try:
            async with asyncio.timeout(TIMEOUT_S), self._redis.pipeline(transaction=True) as pipeline:
                pipeline.time()
                for feed_id in feed_ids:
                    info_key, until_key = _keys(feed_id)
                    pipeline.hgetall(info_key)
                    pipeline.zrange(until_key, 0, -1, withscores=True)
                (now, _), *answers = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable("Presence cannot be read now. Try again in a moment.") from error
        found = {}
        for feed_id, infos, until in zip(feed_ids, answers[::2], answers[1::2], strict=True):
            found[feed_id] = {client: infos[client] for client, at in until if at > now and client in infos}
        return found


def _keys(feed_id: int) -> tuple[str, str]:
    return f"headwater:presence:{feed_id}:info", f"headwater:presence:{feed_id}:until"
