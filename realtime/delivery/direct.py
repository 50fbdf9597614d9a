"""The fast way out to one WebSocket: finished frames to the server's own handle, without a task or a copy.

While the client keeps up, an event costs one method call here. When it stops, frames wait in a bounded queue
(the bytes are shared with every other connection's), and a client that does not read for too long, or for
whom too much waits, is let go: it resumes from its position.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from realtime.errors import FeedGone, HeadwaterError, SlowReader

from .frames import Event, text_frame

# What is handed to the server at once when a client reads again.
PORTION_BYTES = 128 * 1024


class Handle(Protocol):
    """The server's handle on one WebSocket; see `daphne.Handle`."""

    paused: bool

    @property
    def waiting(self) -> int: ...

    def listen(self, told: Callable[[bool], None]) -> None: ...

    def write(self, frame: bytes) -> None: ...

    def heard(self) -> None: ...

    def close(self, code: int, reason: str) -> None: ...


class DirectConnection:
    """A `Watcher` on a `Handle`.

    feeds        how many feeds are watched: when the last one is deleted, the connection ends
    limit_bytes  what may wait here, besides the server's own 64 KiB, before the client is let go
    stall_s      how long it may read nothing at all
    ended        called once, with the reason; it must not leave the hub before it has returned
    """

    def __init__(
        self,
        handle: Handle,
        *,
        feeds: int,
        limit_bytes: int,
        stall_s: float,
        ended: Callable[[HeadwaterError], None],
    ) -> None:
        self._handle = handle
        self._feeds = feeds
        self._limit_bytes = limit_bytes
        self._stall_s = stall_s
        self._ended = ended
        self._held = handle.paused
        self._queue: deque[bytes] = deque()
        self._waiting = 0
        self._room: asyncio.Event | None = None
        self._stall: asyncio.TimerHandle | None = None
        self.reason: HeadwaterError | None = None
        handle.listen(self._pace)

    def deliver(self, event: Event) -> None:
        """Send an event, or queue it while the client does not keep up. Never raises."""
        if self.reason is not None:
            return
        if event.kind == "gone":
            self._feeds -= 1
            if self._feeds == 0:
                self.end(FeedGone(f"The feed {event.slug} was deleted.", field="feed"))
                return
        if self._held:
            self._hold(event.frame)
        else:
            self._handle.write(event.frame)

    def put(self, text: str) -> None:
        """Send one message that is no event."""
        if self._held:
            self._hold(text_frame(text))
        elif self.reason is None:
            self._handle.write(text_frame(text))

    def settled(self) -> None:
        """The start has been delivered. Nothing to do here: `drain` paces the start."""

    def end(self, reason: HeadwaterError) -> None:
        """End the connection. The first reason stays."""
        if self.reason is None:
            self.reason = reason
            self.release()
            self._ended(reason)

    def release(self) -> None:
        """Let go of everything that waits, and of whoever waits in `drain`."""
        self._queue.clear()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if self._room is not None:
            self._room.set()

    async def drain(self) -> None:
        """Return when the client keeps up. Raises the reason when the connection has ended."""
        while self.reason is None and self._held:
            if self._room is None:
                self._room = asyncio.Event()
            self._room.clear()
            await self._room.wait()
        if self.reason is not None:
            raise self.reason
        await asyncio.sleep(0)  # what was written leaves at the end of the turn

    def _hold(self, frame: bytes) -> None:
        if self.reason is not None:
            return
        self._waiting += len(frame)
        if self._queue and self._waiting > self._limit_bytes:
            self.end(SlowReader("Too much waits for you. Reconnect and resume from your last position."))
        else:
            self._queue.append(frame)

    def _pace(self, paused: bool) -> None:
        """The server says that the client stopped keeping up, or that it has caught up."""
        if self.reason is not None:
            return
        if paused:
            self._held = True
            if self._stall is None:
                self._watch_for_a_stall()
            return
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        self._refill()

    def _watch_for_a_stall(self) -> None:
        unread = self._handle.waiting
        self._stall = asyncio.get_running_loop().call_later(self._stall_s, self._look_for_progress, unread)

    def _look_for_progress(self, unread: int) -> None:
        if self._handle.waiting < unread:
            self._watch_for_a_stall()  # slow, but reading
        else:
            self.end(SlowReader(f"You read nothing for {self._stall_s:g} s. Reconnect and resume."))

    def _refill(self) -> None:
        """Hand over what waits, a portion a turn, until the client is behind again or nothing waits."""
        if self.reason is not None or self._handle.paused:
            return
        portion = 0
        while self._queue and portion < PORTION_BYTES:
            frame = self._queue.popleft()
            portion += len(frame)
            self._handle.write(frame)
        self._waiting -= portion
        if self._queue:
            asyncio.get_running_loop().call_soon(self._refill)
            return
        self._held = False
        if self._room is not None:
            self._room.set()
