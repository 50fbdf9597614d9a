"""Carries announcements between processes over Django's channel layer.

Each process has one channel, one group per feed that somebody here watches, and the named groups that it
joined. Everything on the layer is a hint: what is lost, late or doubled there costs milliseconds, because the
hub reads holes from the journal. Signals travel beside the announcements and are in no journal: who sends one
can bear its loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from channels.layers import BaseChannelLayer

from .announcement import (
    SIGNAL_TYPE,
    Announcement,
    Signal,
    addressed,
    from_message,
    group_of,
    signal_from_message,
)
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
UNFINISHED = -1  # an echo's life while groups are still being joined: proves nothing yet
# The in-memory layer forgets memberships after a day.
REFRESH_S = 3600.0


class Broker:
    """Announces this process's commits and signals, and hears those of all processes in the groups it joined.

    A layer that fails, hangs, falls silent or restarts ends nothing: announcements meanwhile are dropped and
    counted in `dropped`; connecting and joining is tried again for as long as it takes. `away` is set from
    the first failure until an echo came through again.
    """

    def __init__(self, layer: BaseChannelLayer, supervisor: Supervisor) -> None:
        self._layer = layer
        self._supervisor = supervisor
        self._outbox: asyncio.Queue[Announcement | Signal] = asyncio.Queue(OUTBOX_LIMIT)
        self._listens = False
        self._hear: Callable[[Announcement], None] | None = None
        self._hear_signal: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._wanted: set[str] = set()
        self._joined: set[str] = set()
        self._changed = asyncio.Event()
        self._channel = ""
        self._ready = asyncio.Event()
        self._life = 0  # grows with every failure: only an echo of the present life proves anything
        self.away = asyncio.Event()
        self.dropped = 0
        self.unreadable = 0

    @property
    def connected(self) -> bool:
        """Whether the layer worked when it was last used."""
        return not self.away.is_set()

    def announce(self, announcement: Announcement) -> None:
        """Queue for sending; never waits. Past 10,000 waiting, what comes is dropped and counted."""
        self.send(announcement)

    def signal(self, group: str, signal: Mapping[str, Any]) -> None:
        """Queue a short message for every process in this group, this one too if it is; never waits.

        signal   JSON's types alone, with the text "kind", which says whose it is

        Order is kept with announcements and other signals. What the layer loses or the queue has no room for
        is gone. Raises KeyError without a kind, and TypeError or ValueError for what JSON cannot say.
        """
        self.send(Signal.of(group, signal))

    def send(self, each: Announcement | Signal) -> None:
        """Queue either, as `announce` does."""
        self._supervisor.spawn("broker sender", self._send_all)
        try:
            self._outbox.put_nowait(each)
        except asyncio.QueueFull:
            self.dropped += 1

    def listen(self, hear: Callable[[Announcement], None]) -> None:
        """Call `hear` on the loop for every announcement that arrives for a joined feed."""
        self._hear = hear
        self._receive()

    def hear(self, kind: str, callback: Callable[[dict[str, Any]], None]) -> None:
        """Call `callback` on the loop for every signal of that kind that arrives in a joined group.

        The last callback given for a kind counts. What it raises is logged, and ends nothing.
        """
        self._hear_signal[kind] = callback
        self._receive()

    def _receive(self) -> None:
        self._listens = True
        self._supervisor.spawn("broker receiver", self._receive_all)
        self._supervisor.spawn("broker memberships", self._keep_memberships)

    async def join(self, feed_id: int) -> None:
        """Be in this feed's group from now on, as `join_group`."""
        await self.join_group(group_of(feed_id))

    def leave(self, feed_id: int) -> None:
        """Stop hearing this feed; the layer is told in the background."""
        self.leave_group(group_of(feed_id))

    async def join_group(self, name: str) -> None:
        """Hear this group from now on. Raises nothing: a layer that is away is joined when it is back.

        name   up to 99 of ASCII letters, digits, hyphens, underscores and periods

        Waits at most a second, so that a watcher is served from the journal even while Redis is dead.
        """
        self._wanted.add(name)
        if name in self._joined:
            return
        if not self.connected:
            return
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                await self._ready.wait()
                await self._add(name)
        except Exception as error:
            self._failed("join", error)

    def leave_group(self, name: str) -> None:
        """Stop hearing this group; the layer is told in the background."""
        self._wanted.discard(name)
        self._changed.set()

    async def _add(self, name: str) -> None:
        await self._layer.group_add(name, self._channel)
        self._joined.add(name)

    async def _discard(self, name: str) -> None:
        self._joined.discard(name)
        try:
            await self._layer.group_discard(name, self._channel)
        except BaseException:
            self._joined.add(name)  # still to be left
            raise
        if name in self._wanted:  # somebody came while it was being left
            await self._add(name)

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
                    await self._send([addressed(each) for each in batch])
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
                if not self._listens:  # nobody here hears an echo
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
            if message.get("type") == SIGNAL_TYPE:
                self._take_signal(*signal_from_message(message))
                return
            announcement = from_message(message)
        except (KeyError, TypeError, ValueError, RecursionError):
            if not self.unreadable:  # one release's messages may all be unreadable to another
                logger.warning("layer_message_unreadable")
            self.unreadable += 1
            return
        if self._hear is not None:
            self._hear(announcement)

    def _take_signal(self, kind: str, signal: dict[str, Any]) -> None:
        callback = self._hear_signal.get(kind)
        if callback is None:
            return
        try:
            callback(signal)
        except Exception:
            logger.exception("signal_failed kind=%s", kind)

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
                self._joined -= self._wanted  # to be joined again; what else is there is still to be left
                refresh_at = loop.time() + REFRESH_S
            try:
                for name in self._wanted - self._joined:
                    async with asyncio.timeout(LAYER_TIMEOUT_S):
                        await self._add(name)
                    if loop.time() >= echo_at:  # so that the receiver hears something while this takes long
                        echo_at = await self._echo(UNFINISHED)
                for name in self._joined - self._wanted:
                    async with asyncio.timeout(LAYER_TIMEOUT_S):
                        await self._discard(name)
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
