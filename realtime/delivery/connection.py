"""The way out to one client: its backlog and the one writer that sends it.

What is queued is shared text or bytes, encoded once by the event. Where the server tells when its own buffer
is full (`scope["extensions"]["headwater"]`, see `daphne`), the writer waits for it; other servers wait
inside `send`. Either way a client that does not read fills its backlog, and is let go when it overflows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Any, Generic, Protocol

from realtime.errors import FeedGone, HeadwaterError, SlowReader

from .backlog import Backlog, Payload
from .frames import Event

# So that one long catch-up does not keep the loop from everybody else.
YIELD_EVERY = 32


class Flow(Protocol):
    """The server's buffer for one client."""

    async def drain(self) -> None:
        """Return when the buffer has room; raise ConnectionError when the client is gone."""


class Out(Protocol):
    """A way out to one client: a `Connection`, or a `DirectConnection` on our own server.

    held   news has to wait here. While it has not, whoever has a change's payload at hand may `send` that
           instead of delivering the event
    """

    held: bool

    def send(self, payload: Any, /) -> None:
        """See `held`."""

    def deliver(self, *events: Event) -> None:
        """Send or queue news. Never raises."""

    def put(self, payload: Any) -> None:
        """Send or queue a finished payload of this way's own form."""

    def forget(self, feed_id: int) -> None:
        """The client does not want this feed any more, or anew: see `Backlog`."""

    def start(self, *events: Event) -> None:
        """Send or queue a part of a start; ask `drain` before the next."""

    async def drain(self) -> None:
        """Return when what waits now has been taken. Raises the reason when it has ended."""

    def end(self, reason: HeadwaterError) -> None:
        """End it. The first reason stays."""


async def _nothing() -> None:
    return


def drain_of(scope: Mapping[str, Any]) -> Callable[[], Awaitable[None]]:
    """Waits for room in the server's buffer, where the server tells of it."""
    flow: Flow | None = (scope.get("extensions") or {}).get("headwater")
    return flow.drain if flow is not None else _nothing


class Connection(Generic[Payload]):
    """A `Watcher` that carries events to one client in order.

    render      an event's payload in this door's format
    write       sends one payload; awaited one at a time
    feeds       how many feeds are watched: when the last one is deleted, the connection ends
    limit_bytes, latest_only   what may wait: see `Backlog`
    """

    def __init__(
        self,
        render: Callable[[Event], Payload],
        write: Callable[[Payload], Awaitable[None]],
        *,
        feeds: float,
        limit_bytes: int,
        latest_only: Container[int] = (),
    ) -> None:
        self._write: Callable[[Payload], Awaitable[None]] = write
        self._feeds = feeds
        self._backlog: Backlog[Payload] = Backlog(render, limit_bytes=limit_bytes, latest_only=latest_only)
        self._behind = False  # a write waits for the client
        self._changed = asyncio.Event()
        self._cut: asyncio.Timeout | None = None
        self.held = True
        self.reason: HeadwaterError | None = None

    def deliver(self, *events: Event) -> None:
        """Queue news. Never raises: an overflow ends the connection with SlowReader."""
        for event in events:
            if self.reason is not None:
                return
            if event.kind == "gone":
                self._feeds -= 1
                if self._feeds == 0:
                    self.end(FeedGone(f"The feed {event.slug} was deleted.", field="feed"))
                    return
            self._queued(self._backlog.add(event, behind=self._behind))

    def put(self, payload: Payload) -> None:
        """Queue one finished payload."""
        if self.reason is None:
            self._queued(self._backlog.put(payload))

    send = put

    def forget(self, feed_id: int) -> None:
        """See `Out`."""
        self._backlog.forget(feed_id)

    def start(self, *events: Event) -> None:
        """Queue a part of the start; ask `drain` before the next."""
        if self.reason is None:
            for event in events:
                self._backlog.start(event)
            self._changed.set()

    def end(self, reason: HeadwaterError) -> None:
        """Send what is queued and then stop. The first reason stays."""
        if self.reason is None:
            self.reason = reason
        self._backlog.release()
        self._changed.set()

    def _queued(self, fits: bool) -> None:
        if fits:
            self._changed.set()
            return
        self._backlog.clear()
        self.end(SlowReader("Too much waits for you. Reconnect and resume from your last position."))
        if self._cut is not None:
            # The writer may be waiting for a client that never reads again.
            self._cut.reschedule(asyncio.get_running_loop().time())

    async def drain(self) -> None:
        """Return when what waits now has been sent. Raises the reason when the connection has ended."""
        if self.reason is None:
            self._changed.set()
            await self._backlog.mark()
        if self.reason is not None:
            raise self.reason

    async def run(self, *, silence_s: float | None = None, filler: Payload | None = None) -> HeadwaterError:
        """Send until the connection ends; its reason. After `silence_s` without anything, send `filler`.

        Raises OSError when the client has gone.
        """
        try:
            async with asyncio.timeout(None) as self._cut:
                return await self._send_all(silence_s, filler)
        except TimeoutError:
            if isinstance(self.reason, SlowReader):
                return self.reason
            raise
        finally:
            # Whoever waits in `drain` must not wait for a writer that has ended.
            self.end(HeadwaterError("The client has gone."))
            self._backlog.clear()

    async def _send_all(self, silence_s: float | None, filler: Payload | None) -> HeadwaterError:
        while True:
            await self._send_queued()
            if self.reason is not None:
                return self.reason
            self._changed.clear()
            try:
                async with asyncio.timeout(silence_s):
                    await self._changed.wait()
            except TimeoutError:
                if filler is not None:
                    await self._send(filler)

    async def _send_queued(self) -> None:
        sent = 0
        while (payload := self._backlog.take()) is not None:
            await self._send(payload)
            sent += 1
            if sent % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _send(self, payload: Payload) -> None:
        self._behind = True
        await self._write(payload)
        self._behind = False
