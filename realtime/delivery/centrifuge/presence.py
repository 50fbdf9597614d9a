"""Who is in a channel: each feed's clients, as they describe themselves to others.

In memory where there is one process, in Redis where there may be many. Only those are in here who subscribed
by this protocol to a channel whose rules keep presence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from realtime.conf import conf
from realtime.feeds.runtime import Feeds


class Stats(NamedTuple):
    """How many clients there are, and how many users; all who have no name are one user."""

    num_clients: int
    num_users: int


class Presence(Protocol):
    """The clients of all feeds, by id, each with its ClientInfo as JSON text."""

    async def add(self, feed_id: int, client: str, info: str) -> None:
        """Everybody sees this client when this has returned.

        Raises nothing: while the place where it is kept is away, the client is seen once that is back. When
        cancelled, the client is removed.
        """
        ...

    def remove(self, feed_id: int, client: str) -> None:
        """Nobody sees this client any more, a moment later at most. Idempotent."""
        ...

    async def clients(self, feed_id: int) -> dict[str, str]:
        """All of them, on every process. Raises Unavailable."""
        ...

    async def aclose(self) -> None:
        """Remove those that were added here, and end."""
        ...


def open_presence(feeds: Feeds) -> Presence:
    """The one that this process is set up for; closed before these feeds are."""
    presence: Presence
    if conf().redis_url:
        from .presence_redis import RedisPresence

        presence = RedisPresence(conf().redis_url, feeds.supervisor)
    else:
        presence = MemoryPresence()
    feeds.closing.push_async_callback(presence.aclose)
    return presence


def stats_of(infos: Iterable[str]) -> Stats:
    """Of one channel's clients."""
    users = [json.loads(info).get("user", "") for info in infos]
    return Stats(len(users), len(set(users)))


class MemoryPresence:
    """Of this process alone. See `Presence`."""

    def __init__(self) -> None:
        self._clients: dict[int, dict[str, str]] = {}

    async def add(self, feed_id: int, client: str, info: str) -> None:
        self._clients.setdefault(feed_id, {})[client] = info

    def remove(self, feed_id: int, client: str) -> None:
        clients = self._clients.get(feed_id, {})
        if clients.pop(client, None) is not None and not clients:
            del self._clients[feed_id]

    async def clients(self, feed_id: int) -> dict[str, str]:
        return dict(self._clients.get(feed_id, {}))

    async def aclose(self) -> None:
        self._clients.clear()
