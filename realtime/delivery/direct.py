"""The fast way out to one WebSocket: finished frames to the server's own handle, without a task or a copy.

While the client keeps up, an event costs one method call here. When it stops, frames wait in its backlog (the
bytes are shared with every other connection's), and a client that does not read for too long, or for
whom too much waits, is let go: it resumes from its position.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Sequence
from operator import attrgetter
from typing import Protocol

from realtime.errors import FeedGone, HeadwaterError, SlowReader

from .backlog import Backlog
from .frames import Event

# What is handed to the server at once when a client reads again.
PORTION_BYTES = 128 * 1024


class Handle(Protocol):
    """The server's handle on one WebSocket; see `handle.Handle`."""

    paused: bool

    @property
    def waiting(self) -> int: ...

    def listen(self, told: Callable[[bool], None]) -> None: ...

    def send(self, data: bytes) -> None: ...

    def write(self, frame: bytes) -> None: ...

    def heard(self) -> None: ...

    def close(self, code: int, reason: str) -> None: ...


class DirectConnection:
    """A `Watcher` on a `Handle`.

    render       an event's finished frame
    feeds        how many feeds are watched: when the last one is deleted, the connection ends
    limit_bytes, latest_only   what may wait here, besides the server's own 64 KiB: see `Backlog`
    stall_s      how long it may read nothing at all
    ended        called once, with the reason; it must not leave the hub before it has returned

    While it is not `held`, `send` is the handle's own, for news whose frame is at hand: see `Out`.
    """

    __slots__ = (
        *("_backlog", "_ended", "_feeds", "_handle", "_render", "_stall", "_stall_s"),
        *("__weakref__", "held", "reason", "send"),
    )

    def __init__(
        self,
        handle: Handle,
        *,
        feeds: float,
        limit_bytes: int,
        stall_s: float,
        ended: Callable[[HeadwaterError], None],
        latest_only: Container[int] = (),
        render: Callable[[Event], bytes] = attrgetter("frame"),
    ) -> None:
        self._handle = handle
        self.send: Callable[[bytes], None] = handle.send
        self._render = render
        self._feeds = feeds
        self._stall_s = stall_s
        self._ended = ended
        self.held = handle.paused
        self._backlog = Backlog(render, limit_bytes=limit_bytes, latest_only=latest_only)
        self._stall: asyncio.TimerHandle | None = None
        self.reason: HeadwaterError | None = None
        handle.listen(self._pace)

    def deliver(self, *events: Event) -> None:
        """Send events, or queue them while the client does not keep up. Never raises."""
        if not self.held and len(events) == 1 and events[0].kind != "gone":
            self.send(self._render(events[0]))
        else:
            self._deliver_some(events)

    def _deliver_some(self, events: Sequence[Event]) -> None:
        frames: list[bytes] = []
        for event in events:
            if self.reason is not None:
                return
            if event.kind == "gone":
                self._feeds -= 1
                if self._feeds == 0:
                    self._send_all(frames)
                    self.end(FeedGone(f"The feed {event.slug} was deleted.", field="feed"))
                    return
            if not self.held:
                frames.append(self._render(event))
            elif not self._backlog.add(event, behind=True):
                self._overflow()
        self._send_all(frames)

    def _send_all(self, frames: list[bytes]) -> None:
        if frames:
            self.send(b"".join(frames))

    def start(self, *events: Event) -> None:
        """Send a part of the start; ask `drain` before the next."""
        for event in events:
            if self.reason is None:
                if self.held:
                    self._backlog.start(event)
                else:
                    self._handle.write(self._render(event))

    def put(self, frame: bytes) -> None:
        """Send a finished frame of something else than an event."""
        if self.reason is None:
            if not self.held:
                self._handle.write(frame)
            elif not self._backlog.put(frame):
                self._overflow()

    def forget(self, feed_id: int) -> None:
        """See `Out`."""
        self._backlog.forget(feed_id)

    def end(self, reason: HeadwaterError) -> None:
        """End the connection. The first reason stays."""
        if self.reason is None:
            self.reason = reason
            self.held = True  # `deliver` looks no further while the client keeps up
            self.release()
            self._ended(reason)

    def release(self) -> None:
        """Let go of everything that waits, and of whoever waits in `drain`."""
        self._backlog.clear()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    async def drain(self) -> None:
        """Return when the client has taken what waits now. Raises the reason when it has ended."""
        await asyncio.sleep(0)  # what was written leaves at the end of the turn: only then it may be held
        if self.reason is None and self.held:
            await self._backlog.mark()
        if self.reason is not None:
            raise self.reason

    def _overflow(self) -> None:
        self.end(SlowReader("Too much waits for you. Reconnect and resume from your last position."))

    def _pace(self, paused: bool) -> None:
        """The server says that the client stopped keeping up, or that it has caught up."""
        if self.reason is not None:
            return
        if paused:
            self.held = True
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
        while portion < PORTION_BYTES and (frame := self._backlog.take()) is not None:
            portion += len(frame)
            self._handle.write(frame)
        if self._backlog:
            asyncio.get_running_loop().call_soon(self._refill)
        else:
            self.held = False
