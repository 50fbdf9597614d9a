"""Carries announcements between processes over Django's channel layer.

Each process has one channel, and one group per feed that somebody here watches. Everything on the layer is a
hint: what is lost, late or doubled there costs milliseconds, because the hub reads holes from the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from channels.layers import BaseChannelLayer

from .announcement import Announcement, from_message, to_message
from .layer import PipelinedPubSubLayer
from .supervision import Supervisor

logger = logging.getLogger(__name__)

OUTBOX_LIMIT = 10_000
BATCH_LIMIT = 200
LAYER_TIMEOUT_S = 5.0
JOIN_TIMEOUT_S = 1.0
CLOSE_TIMEOUT_S = 1.0
RETRY_S = 0.5
# A layer that fails silently is noticed by what this process sends to itself.
ECHO_EVERY_S = 2.0
SILENCE_LIMIT_S = 10.0
ECHO_TYPE = "feed.echo"
UNFINISHED = -1  # an echo's life while feeds are still being joined: proves nothing yet
# The in-memory layer forgets memberships after a day.
REFRESH_S = 3600.0


class Broker:
    """Announces this process's commits, and hears those of all processes for the feeds that were joined.

    A layer that fails, hangs, falls silent or restarts ends nothing: announcements meanwhile are dropped and
    counted in `dropped`; connecting and joining is tried again for as long as it takes. `away` is set from
    the first failure until an echo came through again.
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
        self._life = 0  # grows with every failure: only an echo of the present life proves anything
        self.away = asyncio.Event()
        self.dropped = 0

    @property
    def connected(self) -> bool:
        """Whether the layer worked when it was last used."""
        return not self.away.is_set()

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
            return
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                await self._ready.wait()
                await self._add(feed_id)
        except Exception as error:
            self._failed("join", error)

    def leave(self, feed_id: int) -> None:
        """Stop hearing this feed; the layer is told in the background."""
        self._wanted.discard(feed_id)
        self._changed.set()

    async def _add(self, feed_id: int) -> None:
        await self._layer.group_add(group_of(feed_id), self._channel)
        self._joined.add(feed_id)

    async def _discard(self, feed_id: int) -> None:
        self._joined.discard(feed_id)
        await self._layer.group_discard(group_of(feed_id), self._channel)
        if feed_id in self._wanted:  # somebody came while it was being left
            await self._add(feed_id)

    def _failed(self, doing: str, error: Exception) -> None:
        if self.connected:
            logger.warning("layer_away while=%s %s", doing, type(error).__name__)
        self._life += 1
        self.away.set()
        self._changed.set()

    def _works(self) -> None:
        if not self.connected:
            logger.warning("layer_back")
        self.away.clear()

    async def _send_all(self) -> None:
        while True:
            batch = [await self._outbox.get()]
            while len(batch) < BATCH_LIMIT and not self._outbox.empty():
                batch.append(self._outbox.get_nowait())
            try:
                async with asyncio.timeout(LAYER_TIMEOUT_S):
                    await self._send([(group_of(each.feed_id), to_message(each)) for each in batch])
            except Exception as error:
                self.dropped += len(batch)
                self._failed("send", error)
                # Watchers read the journal meanwhile: what waits would come after what they have.
                while not self._outbox.empty():
                    self._outbox.get_nowait()
                    self._outbox.task_done()
                    self.dropped += 1
                await asyncio.sleep(RETRY_S)
            else:
                if self._hear is None:  # nobody here listens for echoes
                    self._works()
            finally:
                for _ in batch:
                    self._outbox.task_done()

    async def _send(self, messages: Sequence[tuple[str, dict[str, Any]]]) -> None:
        if isinstance(self._layer, PipelinedPubSubLayer):
            await self._layer.group_send_many(messages)
            return
        for group, message in messages:
            await self._layer.group_send(group, message)

    async def _receive_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._open_channel()
                async with asyncio.timeout(SILENCE_LIMIT_S) as silence:
                    while True:
                        self._take(await self._layer.receive(self._channel))
                        silence.reschedule(loop.time() + SILENCE_LIMIT_S)
            except Exception as error:
                self._ready.clear()
                self._failed("receive", error)
                await asyncio.sleep(RETRY_S)

    async def _open_channel(self) -> None:
        """A channel on fresh connections: the old ones may be half-open, which they would not tell."""
        async with asyncio.timeout(LAYER_TIMEOUT_S):
            if not self.connected:
                await self._layer.flush()
            self._channel = await self._layer.new_channel()
        self._ready.set()
        self._changed.set()

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("type") == ECHO_TYPE:
            if message.get("life") == self._life:
                self._works()
            return
        try:
            announcement = from_message(message)
        except (KeyError, TypeError, ValueError):
            logger.warning("layer_message_unreadable")
            return
        if self._hear is not None:
            self._hear(announcement)

    async def _keep_memberships(self) -> None:
        """Makes the layer's groups equal to what is wanted, and has an echo show that it works."""
        loop = asyncio.get_running_loop()
        echo_at = refresh_at = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ECHO_EVERY_S if self.connected else RETRY_S):
                    await self._changed.wait()
            self._changed.clear()
            await self._ready.wait()
            life = self._life  # what fails from here on is not made good by this round, and its echo says so
            if not self.connected or loop.time() >= refresh_at:
                self._joined.clear()
                refresh_at = loop.time() + REFRESH_S
            try:
                for feed_id in self._wanted - self._joined:
                    async with asyncio.timeout(LAYER_TIMEOUT_S):
                        await self._add(feed_id)
                    if loop.time() >= echo_at:  # so that the receiver hears something while this takes long
                        echo_at = await self._echo(UNFINISHED)
                for feed_id in self._joined - self._wanted:
                    async with asyncio.timeout(LAYER_TIMEOUT_S):
                        await self._discard(feed_id)
                if not self.connected or loop.time() >= echo_at:
                    echo_at = await self._echo(life)
            except Exception as error:
                self._failed("join", error)
                await asyncio.sleep(RETRY_S)

    async def _echo(self, life: int) -> float:
        """Have the layer carry something to this process; when to do so again."""
        async with asyncio.timeout(LAYER_TIMEOUT_S):
            await self._layer.send(self._channel, {"type": ECHO_TYPE, "life": life})
        return asyncio.get_running_loop().time() + ECHO_EVERY_S

    async def aclose(self) -> None:
        """Send what waits, for at most a second. The supervisor ends the tasks."""
        if self.connected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._outbox.join(), timeout=CLOSE_TIMEOUT_S)


def group_of(feed_id: int) -> str:
    """The layer's group for one feed."""
    return f"feed.{feed_id}"
