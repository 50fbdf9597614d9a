"""The feeds' moving parts for one event loop: database threads, store and broker, made when first asked for.

Daphne, Uvicorn, a command and a test each bring a loop of their own; nothing here is shared between loops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from asgiref.sync import async_to_sync
from channels.layers import BaseChannelLayer, InMemoryChannelLayer, get_channel_layer
from django.db import transaction

from realtime.conf import conf
from realtime.errors import NotFound

from .announcement import Announcement, Signal, addressed
from .broker import Broker
from .catalog import check_publishable
from .database import Database
from .models import Feed
from .position import Position
from .store import Store, Write, Written, announcements, commit, publication_write
from .supervision import Supervisor

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Feeds:
    """`database`, `store`, `broker` and `supervisor`, all of one loop. Close it before the loop ends.

    closing   what others want done before these are closed
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closing = AsyncExitStack()
        self._parts: dict[Callable[[Feeds], Any], Any] = {}
        self.supervisor = Supervisor()
        self.database = Database(threads=conf().database_threads)
        self.broker = Broker(_layer(), self.supervisor)
        self.store = Store(self.database, self.broker.announce)

    @classmethod
    def current(cls) -> Feeds:
        """The running loop's own, made at the first call. Raises RuntimeError without a running loop."""
        loop = asyncio.get_running_loop()
        feeds = _by_loop.get(loop)
        if feeds is None:
            feeds = _by_loop[loop] = cls()
        return feeds

    def part(self, make: Callable[[Feeds], T]) -> T:
        """What another room has for these feeds: made by the first call, the same at every other one."""
        if make not in self._parts:
            self._parts[make] = make(self)
        part: T = self._parts[make]
        return part

    async def aclose(self) -> None:
        """Save and announce what waits, end all tasks, close all connections."""
        await self.closing.aclose()
        await self.store.aclose()
        await self.broker.aclose()
        await self.supervisor.aclose()
        await self.database.aclose()
        _by_loop.pop(self.loop, None)


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Feeds] = WeakKeyDictionary()


def _layer() -> BaseChannelLayer:
    layer = get_channel_layer()
    if layer is None:
        raise RuntimeError("CHANNEL_LAYERS has no default layer.")
    return layer


def write_now(writes: Sequence[Write]) -> list[Written | NotFound]:
    """Commit from sync code and announce once the outermost transaction has committed.

    For units of work, signals, tasks and shells. Where this process has a loop with feeds, that loop
    announces; elsewhere it goes to the layer straight away, or, with the in-memory layer, watchers find it
    in the journal.
    """
    results = commit(writes)
    told = announcements(writes, results)
    if told:
        transaction.on_commit(lambda: announce_now(told))
    return results


def announce_now(told: Sequence[Announcement]) -> None:
    """Announce committed work from sync code. A layer that is away is no error: the journal has it."""
    _tell(told)


def signal_now(group: str, signal: Mapping[str, Any]) -> None:
    """`Broker.signal` from sync code; lost when the layer is away. Raises what that raises."""
    _tell([Signal.of(group, signal)])


def running_feeds() -> Feeds | None:
    """Those of a loop that runs in this process, if there is one."""
    return next((feeds for feeds in list(_by_loop.values()) if feeds.loop.is_running()), None)


def _tell(told: Sequence[Announcement | Signal]) -> None:
    """By a running loop's broker, where this process has one; else straight to a layer of many processes."""
    running = running_feeds()
    if running is not None:
        for each in told:
            running.loop.call_soon_threadsafe(running.broker.send, each)
    elif not isinstance(_layer(), InMemoryChannelLayer):
        async_to_sync(_send)(told)


async def _send(told: Sequence[Announcement | Signal]) -> None:
    layer = _layer()
    try:
        async with asyncio.timeout(5):
            for each in told:
                await layer.group_send(*addressed(each))
    except Exception as error:
        # Whatever the layer's driver raises: the commit stands, and watchers find it in the journal.
        logger.warning("layer_away while=send %s", type(error).__name__)


def publish(slug: str, value: object) -> Position:
    """Publish from sync code: a shell, a signal, a task. Returns the feed's position after it.

    On a channel a value that equals the one before is a publication too.
    Takes part in a surrounding transaction: watchers hear of it when that commits. Raises BadInput, TooLarge
    (field `data`), NotFound and, for a live query, Conflict (field `feed`).
    """
    row = Feed.objects.filter(slug=slug).values_list("pk", "kind").first()
    if row is None:
        raise NotFound(f"There is no feed {slug!r}.", field="feed")
    if row[1] == Feed.Kind.QUERY:
        check_publishable(row[1], field="feed")
    (result,) = write_now([publication_write(row[0], value, always=row[1] == Feed.Kind.CHANNEL)])
    if isinstance(result, NotFound):
        raise result
    return result.position
