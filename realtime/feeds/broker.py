"""Carries announcements between processes over Django's channel layer.

Each process has one channel, and one group per feed that somebody here watches. Everything on the layer is a
hint: what is lost, late or doubled there costs milliseconds, because the hub reads holes from the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from channels.layers import BaseChannelLayer

from .announcement import Announcement, from_message, to_message
from .supervision import Supervisor

logger = logging.getLogger(__name__)

OUTBOX_LIMIT = 10_000
LAYER_TIMEOUT_S = 5.0
JOIN_TIMEOUT_S = 1.0
RETRY_S = 0.5
# The in-memory layer forgets memberships after a day.
REFRESH_S = 3600.0


class Broker:
    """Announces this process's commits, and hears those of all processes for the feeds that were joined.

    A layer that fails, hangs or restarts ends nothing: announcements meanwhile are dropped and counted in
    `dropped`, memberships are made again, and `connected` is False until one works.
    """

    def __init__(self, layer: BaseChannelLayer, supervisor: Supervisor) -> None:
        self._layer = layer
        self._supervisor = supervisor
        self._outbox: asyncio.Queue[Announcement] = asyncio.Queue(OUTBOX_LIMIT)
        self._hear: Callable[[Announcement], None] | None = None
        self._wanted: set[int] = set()
        self._joined: set[int] = set()
        self._changed = asyncio.Event()
        self._channel = ""
        self._ready = asyncio.Event()
        self.connected = True
        self.dropped = 0

    def announce(self, announcement: Announcement) -> None:
        """Queue for sending; never waits. Past 10,000 waiting, announcements are dropped and counted."""
        self._supervisor.spawn("broker sender", self._send_all)
        try:
            self._outbox.put_nowait(announcement)
        except asyncio.QueueFull:
            self.dropped += 1

    def listen(self, hear: Callable[[Announcement], None]) -> None:
        """Call `hear` on the loop for every announcement that arrives for a joined feed."""
        self._hear = hear
        self._supervisor.spawn("broker receiver", self._receive_all)
        self._supervisor.spawn("broker memberships", self._keep_memberships)

    async def join(self, feed_id: int) -> None:
        """Hear this feed from now on. Raises nothing: a layer that is away is joined when it is back.

        Waits at most a second, so that a watcher is served from the journal even while Redis is dead.
        """
        self._wanted.add(feed_id)
        if feed_id in self._joined:
            return
        if not self.connected:
            self._changed.set()
            return
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                await self._ready.wait()
                await self._add(feed_id)
        except Exception as error:
            self._disconnected("join", error)

    def leave(self, feed_id: int) -> None:
        """Stop hearing this feed; the layer is told in the background."""
        self._wanted.discard(feed_id)
        self._changed.set()

    async def _add(self, feed_id: int) -> None:
        await self._layer.group_add(group_of(feed_id), self._channel)
        if feed_id in self._wanted:
            self._joined.add(feed_id)

    async def _discard(self, feed_id: int) -> None:
        self._joined.discard(feed_id)
        await self._layer.group_discard(group_of(feed_id), self._channel)
        if feed_id in self._wanted:  # somebody came while it was being left
            await self._add(feed_id)

    def _disconnected(self, doing: str, error: Exception) -> None:
        if self.connected:
            logger.warning("layer_away while=%s %s", doing, type(error).__name__)
        self.connected = False
        self._changed.set()

    async def _send_all(self) -> None:
        while True:
            announcement = await self._outbox.get()
            try:
                async with asyncio.timeout(LAYER_TIMEOUT_S):
                    await self._layer.group_send(group_of(announcement.feed_id), to_message(announcement))
            except Exception as error:
                self.dropped += 1
                self._disconnected("send", error)
            finally:
                self._outbox.task_done()

    async def _receive_all(self) -> None:
        self._joined.clear()
        self._ready.clear()
        async with asyncio.timeout(LAYER_TIMEOUT_S):
            self._channel = await self._layer.new_channel()
        self._ready.set()
        self._changed.set()
        while True:
            message: dict[str, Any] = await self._layer.receive(self._channel)
            try:
                announcement = from_message(message)
            except (KeyError, TypeError, ValueError):
                logger.warning("layer_message_unreadable")
                continue
            if self._hear is not None:
                self._hear(announcement)

    async def _keep_memberships(self) -> None:
        """Makes the layer's groups equal to what is wanted, again after every failure and every hour."""
        while True:
            try:
                async with asyncio.timeout(REFRESH_S if self.connected else RETRY_S):
                    await self._changed.wait()
            except TimeoutError:
                self._joined.clear()
            self._changed.clear()
            await self._ready.wait()
            try:
                async with asyncio.timeout(LAYER_TIMEOUT_S):
                    if not self.connected:
                        self._joined.clear()
                        # A group of nobody: shows that the layer answers, also when nothing is watched.
                        await self._layer.group_send("feed.0", {"type": "feed.nothing"})
                    for feed_id in self._wanted - self._joined:
                        await self._add(feed_id)
                    for feed_id in self._joined - self._wanted:
                        await self._discard(feed_id)
            except Exception as error:
                self._disconnected("join", error)
                await asyncio.sleep(RETRY_S)
            else:
                if not self.connected:
                    logger.warning("layer_back")
                self.connected = True

    async def aclose(self) -> None:
        """Send what waits, for at most a second. The supervisor ends the tasks."""
        if self.connected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._outbox.join(), timeout=1.0)


def group_of(feed_id: int) -> str:
    """The layer's group for one feed."""
    return f"feed.{feed_id}"
