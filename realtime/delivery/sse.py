"""Server-Sent Events at `/feeds/<slug>/events`: a raw ASGI application, so that a stream costs no thread.

The same JSON objects as on the plain WebSocket, with the position as the event's id: a browser that lost
the stream sends it back as `Last-Event-ID` and misses nothing. What a client did wrong is answered with a
status and the one error shape; what passes, and all that comes later, is an error event, and the stream ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from realtime.conf import conf
from realtime.errors import HeadwaterError
from realtime.feeds.position import parse_position
from realtime.feeds.runtime import Feeds

from .admission import Admission, Asked, Scope, allowed_origin, asked_for_one, header
from .codes import error_body, error_message, internal_error, refusal_of
from .connection import Connection, drain_of
from .frames import Event
from .patrol import Patrol, Visit
from .watching import Delivery, Want, latest_only

logger = logging.getLogger(__name__)

RETRY = b"retry: 2000\n\n"
HEARTBEAT = b":\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_PATH = re.compile(r"/feeds/([^/]+)/events\Z")


def is_stream(scope: Scope) -> bool:
    """Whether this HTTP request is for us."""
    return _PATH.match(scope["path"]) is not None


class MethodNotAllowed(HeadwaterError):
    """Anything but GET."""

    code = "method_not_allowed"


class NotAcceptable(HeadwaterError):
    """The client does not take text/event-stream."""

    code = "not_acceptable"


async def application(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """One stream, from the request to the end of whichever side ends first."""
    cors = _cors(scope)
    try:
        asked = _asked(scope)
        feeds = Feeds.current()
        principal, wants = await Admission.of(feeds).admit(scope, asked)
    except HeadwaterError as error:
        await _answer(send, error, cors)
        return
    except Exception:
        logger.exception("stream_failed path=%s", scope["path"])
        await _answer(send, internal_error(), cors)
        return
    patrol = Patrol.of(feeds)
    stream = _Stream(scope, send, wants)
    visit = Visit(principal, wants, stream.connection.end)
    patrol.enter(visit)
    try:
        with contextlib.suppress(OSError):
            await stream.begin(cors)
            await _run(stream, visit, receive)
            await stream.finish()
    finally:
        patrol.leave(visit)


class _Stream:
    """The response: headers, blocks, an error event if there is one, the end."""

    def __init__(self, scope: Scope, send: Send, wants: Sequence[Want]) -> None:
        self._scope = scope
        self._send = send
        self._drain = drain_of(scope)
        self.connection: Connection[bytes] = Connection(
            _sse,
            self.write,
            feeds=len(wants),
            latest_only=latest_only(wants),
            limit_bytes=conf().send_limit_bytes,
        )

    async def begin(self, cors: list[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *cors]})
        await self.write(RETRY)

    async def write(self, block: bytes) -> None:
        await self._drain()
        await self._send({"type": "http.response.body", "body": block, "more_body": True})

    async def write_all(self) -> None:
        """The writer: sends until the connection ends, and says why it did."""
        try:
            reason = await self.connection.run(silence_s=conf().heartbeat_s, filler=HEARTBEAT)
        except OSError:
            return
        except Exception:
            logger.exception("stream_failed path=%s", self._scope["path"])
            reason = internal_error()
        with contextlib.suppress(OSError):
            await self._send({"type": "http.response.body", "body": _error_block(reason), "more_body": True})

    async def finish(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _run(stream: _Stream, visit: Visit, receive: Receive) -> None:
    writer = asyncio.create_task(stream.write_all())
    listener = asyncio.create_task(_until_disconnected(receive))
    watching = asyncio.create_task(_watch(stream, visit))
    tasks = {writer, listener, watching}
    try:
        await asyncio.wait({writer, listener}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(stream: _Stream, visit: Visit) -> None:
    """Watch until cancelled. What goes wrong at the start ends the stream with an error event."""
    try:
        watch = await Delivery.current().watch(visit.wants, stream.connection)
    except HeadwaterError as error:
        stream.connection.end(error)
        return
    except Exception:
        logger.exception("watch_failed")
        stream.connection.end(internal_error())
        return
    try:
        await asyncio.Event().wait()
    finally:
        watch.leave()


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _asked(scope: Scope) -> list[Asked]:
    if scope["method"] != "GET":
        raise MethodNotAllowed("Only GET: a stream is read.")
    if not _accepts_events(header(scope, b"accept")):
        raise NotAcceptable(
            "This address answers text/event-stream only; see the Accept header.", field="accept"
        )
    match = _PATH.match(scope["path"])
    assert match is not None
    resumed = header(scope, b"last-event-id")
    if resumed:
        return [(match[1], parse_position(resumed, field="Last-Event-ID"))]
    return asked_for_one(scope, match[1])


def _accepts_events(accept: str | None) -> bool:
    if not accept:
        return True
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        refused = any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters)
        if kind in ("text/event-stream", "text/*", "*/*"):
            return not refused
    return False


def _cors(scope: Scope) -> list[tuple[bytes, bytes]]:
    headers = [(b"vary", b"Origin, Cookie, Authorization")]
    origin = allowed_origin(scope)
    if origin is not None:
        headers.append((b"access-control-allow-origin", origin.encode("latin1")))
        headers.append((b"access-control-allow-credentials", b"true"))
    return headers


async def _answer(send: Send, error: HeadwaterError, cors: list[tuple[bytes, bytes]]) -> None:
    statuses = {MethodNotAllowed: 405, NotAcceptable: 406}
    status = statuses.get(type(error)) or refusal_of(error).status
    if status >= 500:
        # This passes, and a browser's EventSource gives up for good at any status but 200.
        status, headers, body = 200, [*HEADERS, *cors], RETRY + _error_block(error)
    else:
        body = error_body(error)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            *cors,
        ]
    if status == 405:
        headers.append((b"allow", b"GET"))
    with contextlib.suppress(OSError):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _error_block(error: HeadwaterError) -> bytes:
    return f"data: {error_message(error)}\n\n".encode()


def _sse(event: Event) -> bytes:
    return event.sse
