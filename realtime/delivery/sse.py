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
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from realtime.conf import conf
from realtime.errors import HeadwaterError
from realtime.feeds.position import parse_position
from realtime.feeds.runtime import Feeds

from .admission import Admission, Asked, Scope, asked_for_one, by_rows, header
from .codes import error_message, internal_error
from .connection import Connection
from .frames import ByRows, Event
from .patrol import Patrol, Visit
from .streaming import (
    Headers,
    MethodNotAllowed,
    NotAcceptable,
    Receive,
    Response,
    Send,
    cors_headers,
    refuse,
    run_until_one_ends,
    status_of,
    until_disconnected,
)
from .watching import Delivery, Want, latest_only

logger = logging.getLogger(__name__)

RETRY = b"retry: 2000\n\n"
HEARTBEAT = b":\n\n"
CONTENT_TYPE = b"text/event-stream; charset=utf-8"

# A name with a colon may hold slashes, as that of a block of a template.
_PATH = re.compile(r"/feeds/([^/]+|[^/:]+:.+)/events\Z")


def is_stream(scope: Scope) -> bool:
    """Whether this HTTP request is for us."""
    return _PATH.match(scope["path"]) is not None


async def application(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """One stream, from the request to the end of whichever side ends first."""
    cors = cors_headers(scope)
    try:
        asked = _asked(scope)
        render: Callable[[Event], bytes] = attrgetter("sse")
        if by_rows(scope):
            render = ByRows(render)
        feeds = Feeds.current()
        patrol = Patrol.of(feeds)
        await patrol.listen()
        principal, wants = await Admission.of(feeds).admit(scope, asked)
    except HeadwaterError as error:
        await _refuse(scope, send, error, cors)
        return
    except Exception:
        logger.exception("stream_failed path=%s", scope["path"])
        await _refuse(scope, send, internal_error(), cors)
        return
    stream = _Stream(scope, send, wants, render)
    visit = Visit(principal, wants, stream.connection.end)
    patrol.enter(visit)
    try:
        with contextlib.suppress(OSError):
            await stream.begin(cors)
            await run_until_one_ends(
                stream.write_all(), until_disconnected(receive), meanwhile=_watch(stream, visit)
            )
            await stream.response.finish()
    finally:
        patrol.leave(visit)


class _Stream:
    """Headers, blocks, an error event if there is one, the end."""

    def __init__(
        self, scope: Scope, send: Send, wants: Sequence[Want], render: Callable[[Event], bytes]
    ) -> None:
        self._path = scope["path"]
        self.response = Response(scope, send)
        self.connection: Connection[bytes] = Connection(
            render,
            self.response.write,
            feeds=len(wants),
            latest_only=latest_only(wants),
            limit_bytes=conf().send_limit_bytes,
        )

    async def begin(self, cors: Headers) -> None:
        await self.response.begin(CONTENT_TYPE, cors)
        await self.response.write(RETRY)

    async def write_all(self) -> None:
        """The writer: sends until the connection ends, and says why it did."""
        try:
            reason = await self.connection.run(silence_s=conf().heartbeat_s, filler=HEARTBEAT)
        except OSError:
            return
        except Exception:
            logger.exception("stream_failed path=%s", self._path)
            reason = internal_error()
        with contextlib.suppress(OSError):
            await self.response.write_now(_error_block(reason))


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


def _asked(scope: Scope) -> list[Asked]:
    if scope["method"] != "GET":
        raise MethodNotAllowed("Only GET: a stream is read.", allowed="GET")
    if not _accepts_events(header(scope, b"accept")):
        raise NotAcceptable(
            "This address answers text/event-stream only; see the Accept header.", field="accept"
        )
    match = _PATH.match(scope["path"])
    assert match is not None
    resumed = header(scope, b"last-event-id")
    position = parse_position(resumed, field="Last-Event-ID") if resumed else None
    return asked_for_one(scope, match[1], resumed=position)


def _accepts_events(accept: str | None) -> bool:
    if not accept:
        return True
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        refused = any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters)
        if kind in ("text/event-stream", "text/*", "*/*"):
            return not refused
    return False


async def _refuse(scope: Scope, send: Send, error: HeadwaterError, cors: Headers) -> None:
    if status_of(error) < 500:
        await refuse(send, error, cors)
        return
    # This passes, and a browser's EventSource gives up for good at any status but 200.
    response = Response(scope, send)
    with contextlib.suppress(OSError):
        await response.begin(CONTENT_TYPE, cors)
        await response.write_now(RETRY + _error_block(error))
        await response.finish()


def _error_block(error: HeadwaterError) -> bytes:
    return f"data: {error_message(error)}\n\n".encode()
