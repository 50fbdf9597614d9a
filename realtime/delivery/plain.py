"""The plain WebSocket, for any WebSocket library: `/ws/feeds/<slug>/` and `/ws/feeds/?feed=a&feed=b`.

Every message is one JSON object. Everything that is refused is told by an error message and then a close
code of the table in `codes`, on unknown paths too; nothing ends in a traceback or an open, silent socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from django.urls import path, re_path

from realtime.conf import conf
from realtime.errors import BadInput, BadMessage, HeadwaterError, NotFound, TooLarge
from realtime.feeds.publication import decode_data
from realtime.feeds.runtime import Feeds

from .admission import Admission, Asked, asked_for_many, asked_for_one
from .backlog import size_of
from .codes import error_message, internal_error, refusal_of
from .connection import Connection
from .direct import DirectConnection, Handle
from .frames import Event, text_frame
from .patrol import Patrol, Visit
from .watching import Delivery, Want, latest_only

logger = logging.getLogger(__name__)

PONG = '{"type":"pong"}'

Message = MutableMapping[str, Any]


class PlainConsumer(AsyncConsumer):  # type: ignore[misc]
    """One socket from accept to close. Subclasses say what is asked for.

    It has no channel on the layer, and its messages make no thread hop (Channels' own `dispatch` makes one
    for each): nothing here touches the database but through `Database`.
    """

    def asked(self) -> Sequence[Asked]:
        """The feeds, and from where on. Raises BadInput or NotFound."""
        raise NotImplementedError

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        self.scope = scope
        self.base_send = send
        self.handle: Handle | None = (scope.get("extensions") or {}).get("headwater")
        self.closed = False
        try:
            async with contextlib.AsyncExitStack() as self.leaving:
                try:
                    while True:
                        await self.dispatch(await receive())
                except StopConsumer:
                    self.closed = True
                except HeadwaterError as error:
                    refusal = error
                except OSError:
                    self.closed = True  # the client went while something was sent
                except Exception:
                    logger.exception("socket_failed path=%s", scope["path"])
                    refusal = internal_error()
            # Outside of the stack: the writer has ended, so that the error is the last message.
            if not self.closed:
                await self.refuse(refusal)
        except OSError:
            return

    async def dispatch(self, message: Message) -> None:
        """Hand a message of the server to its method."""
        match message["type"]:
            case "websocket.connect":
                await self.connect()
            case "websocket.receive":
                if self.handle is not None:
                    self.handle.heard()
                self.hear(message)
            case "websocket.disconnect":
                raise StopConsumer

    async def connect(self) -> None:
        """Accept, admit, and begin to watch. Refused is who was accepted, or browsers could not tell why."""
        await self.send({"type": "websocket.accept"})
        feeds = Feeds.current()
        asked = self.asked()
        principal, wants = await Admission.of(feeds).admit(self.scope, asked)
        self.connection = self.open_connection(wants)
        patrol = Patrol.of(feeds)
        visit = Visit(principal, wants, self.connection.end)
        patrol.enter(visit)
        self.leaving.callback(patrol.leave, visit)
        # Beside the client's messages: whoever goes while it waits for its turn makes room for those behind.
        self.leaving.push_async_callback(_end, asyncio.create_task(self.watch(wants)))

    async def watch(self, wants: Sequence[Want]) -> None:
        """Watch until the socket ends. What goes wrong at the start ends it."""
        try:
            watch = await Delivery.current().watch(wants, self.connection)
        except HeadwaterError as error:
            self.connection.end(error)
        except Exception:
            logger.exception("socket_failed path=%s", self.scope["path"])
            self.connection.end(internal_error())
        else:
            self.leaving.callback(watch.leave)

    def open_connection(self, wants: Sequence[Want]) -> DirectConnection | Connection[str]:
        """On the server's own handle where there is one; elsewhere a queue and a task that writes."""
        feeds, newest = len(wants), latest_only(wants)
        if self.handle is not None:
            direct = DirectConnection(
                self.handle,
                feeds=feeds,
                latest_only=newest,
                limit_bytes=conf().send_limit_bytes,
                stall_s=conf().stall_limit_s,
                ended=partial(self.end_directly, self.handle),
            )
            self.leaving.callback(direct.release)
            return direct
        connection: Connection[str] = Connection(
            _plain, self.write, feeds=feeds, latest_only=newest, limit_bytes=conf().send_limit_bytes
        )
        writer = asyncio.create_task(self.write_all(connection))
        self.leaving.push_async_callback(_end, writer)
        return connection

    def end_directly(self, handle: Handle, error: HeadwaterError) -> None:
        """The error message and the close code, by the server's handle."""
        self.closed = True
        handle.write(text_frame(error_message(error)))
        handle.close(refusal_of(error).close, error.code)

    def hear(self, message: Message) -> None:
        """A client's message: a ping, or an error. Raises BadMessage and TooLarge."""
        text, limit = message.get("text"), conf().message_limit_bytes
        payload = text if text is not None else message.get("bytes") or b""
        if size_of(payload) > limit:
            raise TooLarge(f"A message may have {limit:,} bytes.", field="message")
        if text is None:
            raise BadMessage("Send text frames; this door takes no binary ones.", field="message")
        try:
            content = decode_data(text, field="message")
        except BadInput as error:
            raise BadMessage(error.message, field="message") from None
        if not isinstance(content, dict) or content.get("type") != "ping":
            raise BadMessage('The only message that this door takes is {"type": "ping"}.', field="message")
        self.connection.put(PONG)

    async def write(self, text: str) -> None:
        """One message."""
        await self.send({"type": "websocket.send", "text": text})

    async def write_all(self, connection: Connection[str]) -> None:
        """The writer: sends until the connection ends, and says why it did."""
        try:
            refusal = await connection.run()
        except OSError:
            return  # the client has gone; the server will say so
        except Exception:
            logger.exception("socket_failed path=%s", self.scope["path"])
            refusal = internal_error()
        with contextlib.suppress(OSError):
            await self.refuse(refusal)

    async def refuse(self, error: HeadwaterError) -> None:
        """The error message, then the close code."""
        self.closed = True
        await self.send({"type": "websocket.send", "text": error_message(error)})
        await self.send({"type": "websocket.close", "code": refusal_of(error).close, "reason": error.code})


class OneFeed(PlainConsumer):
    """`/ws/feeds/<slug>/?since=<epoch>:<offset>`"""

    def asked(self) -> Sequence[Asked]:
        return asked_for_one(self.scope, self.scope["url_route"]["kwargs"]["slug"])


class ManyFeeds(PlainConsumer):
    """`/ws/feeds/?feed=a&feed=b@<epoch>:<offset>`"""

    def asked(self) -> Sequence[Asked]:
        return asked_for_many(self.scope)


class UnknownPath(PlainConsumer):
    """Every other path: told so, instead of a failed handshake that no client can explain."""

    def asked(self) -> Sequence[Asked]:
        raise NotFound("There is no WebSocket here. Feeds are at /ws/feeds/<slug>/, with the last slash.")


routes = [
    path("ws/feeds/<str:slug>/", OneFeed.as_asgi()),
    path("ws/feeds/", ManyFeeds.as_asgi()),
    re_path("", UnknownPath.as_asgi()),
]


def _plain(event: Event) -> str:
    return event.plain


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
