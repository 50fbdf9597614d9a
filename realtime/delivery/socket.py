"""What every WebSocket's consumer does: the way out to its client, and an end that says why.

On our own server frames go out by its handle; elsewhere through a queue and a task that sends. Nothing here
knows what is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Container, Mapping, MutableMapping
from functools import partial
from typing import Any, NamedTuple

from channels.consumer import AsyncConsumer

from realtime.conf import conf
from realtime.errors import HeadwaterError

from .codes import internal_error
from .connection import Connection, Out
from .direct import DirectConnection, Handle
from .frames import Event, frame_of

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Farewell(NamedTuple):
    """The last message, text or bytes, and the close."""

    last: str | bytes
    code: int
    reason: str


class SocketConsumer(AsyncConsumer):  # type: ignore[misc]
    """One socket of an ASGI server.

    It has no channel on the layer, and its messages make no thread hop (Channels' own `dispatch` makes one
    for each): nothing here touches the database but through `Database`.

    handle    the server's own handle on the socket, None on other servers
    closed    whether the client was told the end, or has gone
    leaving   what must be given back in the end
    """

    leaving: contextlib.AsyncExitStack

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        self.scope = scope
        self.base_send = send
        self.handle: Handle | None = (scope.get("extensions") or {}).get("headwater")
        self.closed = False
        with contextlib.suppress(OSError):  # the client went while something was sent
            await self.run(receive)

    async def run(self, receive: Receive) -> None:
        """From the handshake to the end."""
        raise NotImplementedError

    def farewell(self, error: HeadwaterError) -> Farewell:
        """How this end is told."""
        raise NotImplementedError

    def open_connection(
        self, render: Callable[[Event], Any], *, feeds: float, latest_only: Container[int]
    ) -> Out:
        """The way out. `render` makes finished frames where there is a handle, elsewhere text or bytes."""
        limit_bytes = conf().send_limit_bytes
        if self.handle is not None:
            direct = DirectConnection(
                self.handle,
                render=render,
                feeds=feeds,
                latest_only=latest_only,
                limit_bytes=limit_bytes,
                stall_s=conf().stall_limit_s,
                ended=partial(self._end_directly, self.handle),
            )
            self.leaving.callback(direct.release)
            return direct
        connection: Connection[Any] = Connection(
            render, self.write, feeds=feeds, latest_only=latest_only, limit_bytes=limit_bytes
        )
        self.leave_with(self._write_all(connection))
        return connection

    def leave_with(self, work: Any) -> None:
        """Do this work beside the client's messages, and cancel it in the end."""
        self.leaving.push_async_callback(_end, asyncio.create_task(work))

    def _end_directly(self, handle: Handle, error: HeadwaterError) -> None:
        self.closed = True
        last, code, reason = self.farewell(error)
        handle.write(frame_of(last))
        handle.close(code, reason)

    async def write(self, payload: str | bytes) -> None:
        """One message by the server's own `send`. Raises OSError when the client has gone."""
        await self.base_send(
            {"type": "websocket.send", "text" if isinstance(payload, str) else "bytes": payload}
        )

    async def _write_all(self, connection: Connection[Any]) -> None:
        try:
            error = await connection.run()
        except OSError:
            return  # the client has gone; the server will say so
        except Exception:
            logger.exception("socket_failed path=%s", self.scope["path"])
            error = internal_error()
        with contextlib.suppress(OSError):
            await self.refuse(error)

    async def refuse(self, error: HeadwaterError) -> None:
        """The last message, then the close, by the server's own `send`."""
        self.closed = True
        last, code, reason = self.farewell(error)
        await self.write(last)
        await self.base_send({"type": "websocket.close", "code": code, "reason": reason})


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
