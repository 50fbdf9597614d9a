"""The way out to one client: a bounded queue of finished payloads and the one writer that sends them.

What is queued is shared text or bytes, encoded once by the event. Where the server tells when its own buffer
is full (`scope["extensions"]["headwater"]`, see `daphne`), the writer waits for it; other servers wait
inside `send`. Either way a client that does not read fills this queue, and is let go when it overflows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from realtime.errors import FeedGone, HeadwaterError, SlowReader

from .frames import Event

Payload = TypeVar("Payload", str, bytes)

# So that one long catch-up does not keep the loop from everybody else.
YIELD_EVERY = 32


class Flow(Protocol):
    """The server's buffer for one client."""

    async def drain(self) -> None:
        """Return when the buffer has room; raise ConnectionError when the client is gone."""


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
    limit_bytes what may wait, apart from the start (until `settled`), whose writers ask `drain` first
    """

    def __init__(
        self,
        render: Callable[[Event], Payload],
        write: Callable[[Payload], Awaitable[None]],
        *,
        feeds: int,
        limit_bytes: int,
    ) -> None:
        self._render: Callable[[Event], Payload] = render
        self._write: Callable[[Payload], Awaitable[None]] = write
        self._feeds = feeds
        self._limit_bytes = limit_bytes
        self._queue: deque[Payload] = deque()
        self._waiting = 0
        self._start = 0
        self._settled = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._cut: asyncio.Timeout | None = None
        self.reason: HeadwaterError | None = None

    def deliver(self, event: Event) -> None:
        """Queue an event. Never raises: an overflow ends the connection with SlowReader."""
        if event.kind == "gone":
            self._feeds -= 1
            if self._feeds == 0:
                self.end(FeedGone(f"The feed {event.slug} was deleted.", field="feed"))
                return
        self.put(self._render(event))

    def put(self, payload: Payload) -> None:
        """Queue one finished payload."""
        if self.reason is not None:
            return
        size = size_of(payload)
        if self._settled and self._queue and self._waiting + size - self._start > self._limit_bytes:
            self._overflow()
            return
        self._queue.append(payload)
        self._waiting += size
        if not self._settled:
            self._start += size
        self._changed.set()

    def settled(self) -> None:
        """The start has been delivered; from now on everything that waits counts."""
        self._settled = True

    def end(self, reason: HeadwaterError) -> None:
        """Send what is queued and then stop. The first reason stays."""
        if self.reason is None:
            self.reason = reason
        self._changed.set()
        self._room.set()

    def _overflow(self) -> None:
        self._queue.clear()
        self.end(SlowReader("Too much waits for you. Reconnect and resume from your last position."))
        if self._cut is not None:
            # The writer may be waiting for a client that never reads again.
            self._cut.reschedule(asyncio.get_running_loop().time())

    async def drain(self) -> None:
        """Return when less than the limit waits. Raises the reason when the connection has ended."""
        while self.reason is None and self._waiting >= self._limit_bytes:
            self._room.clear()
            await self._room.wait()
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
                    await self._write(filler)

    async def _send_queued(self) -> None:
        sent = 0
        while self._queue:
            payload = self._queue.popleft()
            await self._write(payload)
            size = size_of(payload)
            self._waiting -= size
            self._start = max(0, self._start - size)
            if self._waiting < self._limit_bytes:
                self._room.set()
            sent += 1
            if sent % YIELD_EVERY == 0:
                await asyncio.sleep(0)


def size_of(payload: str | bytes) -> int:
    """Bytes on the wire; free for ASCII text and for bytes."""
    if isinstance(payload, bytes) or payload.isascii():
        return len(payload)
    return len(payload.encode())
