"""The plain WebSocket, for any WebSocket library: `/ws/feeds/<slug>/` and `/ws/feeds/?feed=a&feed=b`.

Every message is one JSON object. Everything that is refused is told by an error message and then a close
code of the table in `codes`, on unknown paths too; nothing ends in a traceback or an open, silent socket.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from channels.exceptions import StopConsumer
from django.urls import path, re_path

from realtime.conf import conf
from realtime.errors import BadInput, BadMessage, HeadwaterError, NotFound, TooLarge
from realtime.feeds.publication import decode_data
from realtime.feeds.runtime import Feeds

from .admission import Admission, Asked, asked_for_many, asked_for_one, by_rows
from .backlog import size_of
from .codes import error_message, internal_error, refusal_of
from .frames import ByRows, Event, text_frame
from .patrol import Patrol, Visit
from .socket import Farewell, Message, Receive, SocketConsumer
from .watching import Delivery, Want, latest_only

logger = logging.getLogger(__name__)

PONG = '{"type":"pong"}'
PONG_FRAME = text_frame(PONG)


class PlainConsumer(SocketConsumer):
    """One socket from accept to close. Subclasses say what is asked for."""

    def asked(self) -> Sequence[Asked]:
        """The feeds, and from where on. Raises BadInput or NotFound."""
        raise NotImplementedError

    async def run(self, receive: Receive) -> None:
        """Take messages until one side ends it."""
        async with contextlib.AsyncExitStack() as self.leaving:
            try:
                while True:
                    await self.dispatch(await receive())
            except StopConsumer:
                self.closed = True
            except HeadwaterError as error:
                refusal = error
            except OSError:
                raise
            except Exception:
                logger.exception("socket_failed path=%s", self.scope["path"])
                refusal = internal_error()
        # Outside of the stack: the writer has ended, so that the error is the last message.
        if not self.closed:
            await self.refuse(refusal)

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
        await self.base_send({"type": "websocket.accept"})
        feeds = Feeds.current()
        asked = self.asked()
        render: Callable[[Event], Any] = attrgetter("plain" if self.handle is None else "frame")
        if by_rows(self.scope):
            render = ByRows(render)
        patrol = Patrol.of(feeds)
        await patrol.listen()
        principal, wants = await Admission.of(feeds).admit(self.scope, asked)
        self.connection = self.open_connection(render, feeds=len(wants), latest_only=latest_only(wants))
        visit = Visit(principal, wants, self.connection.end)
        patrol.enter(visit)
        self.leaving.callback(patrol.leave, visit)
        # Beside the client's messages: whoever goes while it waits for its turn makes room for those behind.
        self.leave_with(self.watch(wants))

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

    def farewell(self, error: HeadwaterError) -> Farewell:
        """The error message, then the close code of the table."""
        return Farewell(error_message(error), refusal_of(error).close, error.code)

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
        self.connection.put(PONG if self.handle is None else PONG_FRAME)


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
    # A name with a colon may hold slashes, as that of a block of a template.
    re_path(r"^ws/feeds/(?P<slug>[^/]+|[^/:]+:.+)/\Z", OneFeed.as_asgi()),
    path("ws/feeds/", ManyFeeds.as_asgi()),
    re_path("", UnknownPath.as_asgi()),
]
