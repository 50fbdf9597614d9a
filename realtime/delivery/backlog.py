"""What waits for one client: payloads in order, and bounded.

Of a latest-only feed, the newest value alone waits for a client that is behind. It takes the place of the one
before it and says so: it goes out as a "reset" (forget your position; this is the value now), so that an
"update" stays the next offset. All who wait for it hold the same bytes: it counts for nothing here, and
nobody is let go for lagging on such a feed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Container
from typing import Generic, TypeVar

from .frames import Event

Payload = TypeVar("Payload", str, bytes)


class Backlog(Generic[Payload]):
    """A queue from those who deliver to the one who sends.

    render       an event's payload in this door's format
    limit_bytes  what may wait, besides what latest-only feeds and starts bring
    latest_only  the feeds, by id, of which one value and one status may wait
    """

    __slots__ = ("_latest_only", "_limit_bytes", "_newest", "_queue", "_render", "counted_bytes")

    def __init__(
        self, render: Callable[[Event], Payload], *, limit_bytes: int, latest_only: Container[int] = ()
    ) -> None:
        self._render: Callable[[Event], Payload] = render
        self._limit_bytes = limit_bytes
        self._latest_only = latest_only
        self._queue: deque[tuple[Payload, int] | _Newest | asyncio.Future[None]] = deque()
        self._newest: dict[tuple[int, bool], _Newest] = {}
        self.counted_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._queue)

    def add(self, event: Event, *, behind: bool) -> bool:
        """Queue news. False when too much would wait then: nothing was queued.

        behind   whether the client has stopped taking what it is sent
        """
        if event.feed_id not in self._latest_only or event.kind == "gone":
            return self.put(self._render(event))
        key = event.feed_id, event.kind == "status"
        waiting = self._newest.get(key)
        if waiting is not None:
            waiting.event, waiting.skipped = event, True
        elif behind or not self.put(self._render(event)):
            self._newest[key] = waiting = _Newest(key, event)
            self._queue.append(waiting)
        return True

    def put(self, payload: Payload) -> bool:
        """Queue a finished payload, as `add` does. One always fits, however large."""
        size = size_of(payload)
        if self.counted_bytes and self.counted_bytes + size > self._limit_bytes:
            return False
        self._queue.append((payload, size))
        self.counted_bytes += size
        return True

    def start(self, event: Event) -> None:
        """Queue a part of a start. It counts for nothing: who tells a start waits for a `mark` meanwhile."""
        self._queue.append((self._render(event), 0))

    def mark(self) -> asyncio.Future[None]:
        """Done when all that waits now has been taken, or nobody shall wait for that any longer."""
        mark: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(mark)
        return mark

    def forget(self, feed_id: int) -> None:
        """Drop what waits as the newest of a latest-only feed: what comes of it from now on queues anew."""
        for key in ((feed_id, False), (feed_id, True)):
            waiting = self._newest.pop(key, None)
            if waiting is not None:
                self._queue.remove(waiting)

    def take(self) -> Payload | None:
        """The next payload, None when there is none."""
        while self._queue:
            next_one = self._queue.popleft()
            if isinstance(next_one, asyncio.Future):
                _pass(next_one)
            elif isinstance(next_one, _Newest):
                del self._newest[next_one.key]
                event = next_one.event
                return self._render(event.as_reset if next_one.skipped else event)
            else:
                payload, size = next_one
                self.counted_bytes -= size
                return payload
        return None

    def release(self) -> None:
        """Have nobody wait for a mark any longer."""
        for each in self._queue:
            if isinstance(each, asyncio.Future):
                _pass(each)

    def clear(self) -> None:
        """Forget all that waits."""
        self.release()
        self._queue.clear()
        self._newest.clear()
        self.counted_bytes = 0


class _Newest:
    """A place in the queue for whatever is newest of a feed when its turn comes."""

    __slots__ = ("event", "key", "skipped")

    def __init__(self, key: tuple[int, bool], event: Event) -> None:
        self.key = key
        self.event = event
        self.skipped = False


def _pass(mark: asyncio.Future[None]) -> None:
    if not mark.done():
        mark.set_result(None)


def size_of(payload: str | bytes) -> int:
    """Bytes on the wire; free for ASCII text and for bytes."""
    if isinstance(payload, bytes) or payload.isascii():
        return len(payload)
    return len(payload.encode())
