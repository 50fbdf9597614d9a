"""An HTTP answer that goes on for as long as its client listens: what streams of every format have in common.

Raw ASGI, so that a stream costs no thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from typing import Any

from realtime.errors import BadInput, HeadwaterError, TooLarge

from .admission import Scope, allowed_origin
from .codes import error_body, refusal_of
from .connection import drain_of

# Where a server hands on what comes bit by bit.
BODY_WITHIN_S = 20

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

# No proxy may keep, collect or change what passes.
_PASSING = [
    (b"cache-control", b"no-cache, no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


class HttpError(HeadwaterError):
    """A refusal that only HTTP knows, with its `status`."""

    status = 400


class MethodNotAllowed(HttpError):
    """This address does not take the request's method. `allowed` are those that it takes."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, message: str, *, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class NotAcceptable(HttpError):
    """The client does not take this address's content type."""

    code = "not_acceptable"
    status = 406


class Response:
    """A streamed answer with status 200."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._drain = drain_of(scope)

    async def begin(self, content_type: bytes, cors: Headers) -> None:
        """Send the headers."""
        headers = [(b"content-type", content_type), *_PASSING, *cors]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, block: bytes) -> None:
        """Send a block once there is room for it. Raises OSError when the client has gone."""
        await self._drain()
        await self.write_now(block)

    async def write_now(self, block: bytes) -> None:
        """Send a block behind whatever waits: the last word to a client that may not read on."""
        await self._send({"type": "http.response.body", "body": block, "more_body": True})

    async def finish(self) -> None:
        """End the answer."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def cors_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """What tells the browser whether a page of a foreign origin may read the answer."""
    headers = [(b"vary", b"Origin, Cookie, Authorization")]
    origin = allowed_origin(scope)
    if origin is not None:
        headers.append((b"access-control-allow-origin", origin.encode("latin1")))
        headers.append((b"access-control-allow-credentials", b"true"))
    return headers


async def refuse(send: Send, error: HeadwaterError, cors: Headers) -> None:
    """Answer with the error's status, in the one error shape."""
    status = status_of(error)
    allow = [(b"allow", error.allowed.encode())] if isinstance(error, MethodNotAllowed) else []
    headers = [(b"content-type", b"application/json"), *allow, *cors]
    await answer(send, status, headers, error_body(error))


def status_of(error: HeadwaterError) -> int:
    """The HTTP status of a refusal."""
    return error.status if isinstance(error, HttpError) else refusal_of(error).status


def preflight_headers(methods: str) -> list[tuple[bytes, bytes]]:
    """What tells a browser, when it asks first, that its page may send JSON and Protobuf by these methods."""
    return [
        (b"access-control-allow-methods", methods.encode()),
        (b"access-control-allow-headers", b"content-type"),
        (b"access-control-max-age", b"600"),
    ]


async def answer(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    """A whole answer that nobody keeps. That the client has gone is no error."""
    length = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
    headers = [*headers, *length, (b"cache-control", b"no-store")]
    with contextlib.suppress(OSError):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def run_until_one_ends(
    *deciding: Coroutine[Any, Any, None], meanwhile: Coroutine[Any, Any, None]
) -> None:
    """Run all side by side; when one of `deciding` has ended, end the others and wait for them."""
    decided = {asyncio.create_task(each) for each in deciding}
    tasks = {*decided, asyncio.create_task(meanwhile)}
    try:
        await asyncio.wait(decided, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_body(receive: Receive, *, limit_bytes: int) -> bytes:
    """The request's body.

    Raises TooLarge, OSError when the client goes, BadInput when it does not come within 20 s.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError("The client has gone.")
                body += message.get("body", b"")
                if len(body) > limit_bytes:
                    raise TooLarge(f"The body may have {limit_bytes:,} bytes here.", field="body")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise BadInput(f"The body did not come within {BODY_WITHIN_S} s.", field="body") from None


async def until_disconnected(receive: Receive) -> None:
    """Return when the client has gone, or when the server wants it to go."""
    while (await receive())["type"] != "http.disconnect":
        pass
