"""The protocol over plain HTTP answers that go on, for clients whose way lets no WebSocket through.

`/connection/http_stream` and `/connection/sse` carry replies; what their clients say comes with the request
and, from then on, by `emulation`. `/connection/uni_sse` and `/connection/uni_http_stream` carry pushes to
clients that only listen. The protocol's own pings keep silent streams alive.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from realtime.conf import conf
from realtime.delivery.admission import Scope, check_host, check_origin, header, query
from realtime.delivery.connection import Connection
from realtime.delivery.streaming import (
    MethodNotAllowed,
    Receive,
    Response,
    Send,
    answer,
    cors_headers,
    preflight_headers,
    read_body,
    refuse,
    run_until_one_ends,
    until_disconnected,
)
from realtime.errors import HeadwaterError
from realtime.feeds.runtime import Feeds

from . import json_codec, protobuf_codec
from .commands import hear
from .door import Door
from .emulation import BINARY, Emulation
from .listening import listen
from .protocol import Disconnect, DisconnectCode
from .session import Session
from .wire import Wire

logger = logging.getLogger(__name__)

# Sent first: some proxies and old browsers hold headers back that nothing follows.
SSE_OPENING = b"\r\n"


@dataclass(frozen=True, slots=True)
class Format:
    """How a stream looks: its content type, what it begins with, and its wire."""

    content_type: bytes
    wire: Wire
    opening: bytes = b""


def _line(payload: str) -> bytes:
    return payload.encode() + b"\n"


def _event(payload: str) -> bytes:
    return b"data: %b\n\n" % payload.encode()


def _lines(*, bare: bool) -> Format:
    return Format(b"application/x-ndjson; charset=utf-8", Wire(json_codec.CODEC, _line, bare))


def _events(*, bare: bool) -> Format:
    return Format(b"text/event-stream; charset=utf-8", Wire(json_codec.CODEC, _event, bare), SSE_OPENING)


LINES, BARE_LINES = _lines(bare=False), _lines(bare=True)
EVENTS, BARE_EVENTS = _events(bare=False), _events(bare=True)
PROTOBUF = Format(BINARY.encode(), Wire(protobuf_codec.CODEC))


@dataclass(frozen=True, slots=True)
class Address:
    """What one path takes, and whether its clients only listen."""

    methods: str
    format: Format
    binary: Format | None = None
    listens: bool = False


ADDRESSES = {
    "/connection/http_stream": Address("POST", LINES, PROTOBUF),
    "/connection/sse": Address("GET, POST", EVENTS),
    "/connection/uni_http_stream": Address("POST", BARE_LINES, listens=True),
    "/connection/uni_sse": Address("GET, POST", BARE_EVENTS, listens=True),
}


def is_stream(scope: Scope) -> bool:
    """Whether this HTTP request is for us."""
    return scope["path"] in ADDRESSES


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """One stream, from the request to the end of whichever side ends first."""
    cors = cors_headers(scope)
    address = ADDRESSES[scope["path"]]
    try:
        check_host(scope)
        check_origin(scope)
        if scope["method"] == "OPTIONS":
            await answer(send, 204, [*cors, *preflight_headers(address.methods)])
            return
        chosen = _format(address, scope)
        request = await _read(address, scope, receive)
    except HeadwaterError as error:
        await refuse(send, error, cors)
        return
    except OSError:
        return  # the client has gone
    response = Response(scope, send)
    stream = _Stream(response, chosen.wire)
    async with contextlib.AsyncExitStack() as leaving:
        leaving.callback(stream.session.leave)
        hear_all = listen if address.listens else await _with_inbox(stream.session, leaving)
        with contextlib.suppress(OSError):
            await response.begin(chosen.content_type, cors)
            if chosen.opening:
                await response.write(chosen.opening)
            await run_until_one_ends(
                stream.write_all(), until_disconnected(receive), meanwhile=hear_all(stream.session, request)
            )
            await stream.finish()


class _Stream:
    """A session on a streamed answer."""

    def __init__(self, response: Response, wire: Wire) -> None:
        self._response = response
        self._told = False
        self.session = Session(Door.of(Feeds.current()), wire)
        self.session.out = self._connection = Connection[bytes](
            self.session.render,
            response.write,
            feeds=math.inf,
            latest_only=self.session.latest_only,
            limit_bytes=conf().send_limit_bytes,
        )

    async def write_all(self) -> None:
        """The writer: sends until the session or the client ends, and says why the session did."""
        try:
            reason: Exception = await self._connection.run()
        except OSError:
            return
        except Exception as error:
            logger.exception("session_failed")
            reason = error
        await self._tell(self.session.farewell(reason))

    async def finish(self) -> None:
        """The end of the answer. Whoever was not told why is sent away: the server goes."""
        if not self._told:
            await self._tell(Disconnect(DisconnectCode.SHUTDOWN))
        await self._response.finish()

    async def _tell(self, farewell: Disconnect) -> None:
        self._told = True
        # Behind what waits: it is short, and whoever does not read it is cut off.
        with contextlib.suppress(OSError):
            await self._response.write_now(self.session.wire.push({"disconnect": farewell.push}))


async def _with_inbox(
    session: Session, leaving: contextlib.AsyncExitStack
) -> Callable[[Session, bytes], Coroutine[Any, Any, None]]:
    """What hears such a client, which is reached by its secret from now on."""
    emulation = Emulation.of(Feeds.current())
    inbox = await emulation.open()
    leaving.callback(emulation.close, inbox)
    session.secret = inbox.secret

    async def hear_all(session: Session, first: bytes) -> None:
        await hear(session, first)
        while True:
            await hear(session, await inbox.get())

    return hear_all


async def _read(address: Address, scope: Scope, receive: Receive) -> bytes:
    """What the client says first."""
    if scope["method"] not in address.methods.split(", "):
        raise MethodNotAllowed(f"Only {address.methods}.", allowed=address.methods)
    if scope["method"] == "GET":
        said = [value for name, value in query(scope) if name == "cf_connect"]
        return said[0].encode() if said else b""
    return await read_body(receive, limit_bytes=conf().message_limit_bytes)


def _format(address: Address, scope: Scope) -> Format:
    """Protobuf where there is one and the client sends it or asks for it."""
    if address.binary is None:
        return address.format
    asked = dict(query(scope))
    binary = header(scope, b"content-type") == BINARY or "protobuf" in (
        asked.get("format"),
        asked.get("cf_protocol"),
    )
    return address.binary if binary else address.format
