"""What happens to every request before anything else sees it: bodies are bounded, foreign claims are dropped.

Daphne has read a whole body before this counts it; `delivery.daphne_http` refuses earlier there. Here the
same limit holds on every server, also for bodies without a Content-Length or with one that lies.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import ip_address, ip_network
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from realtime.conf import conf
from realtime.delivery.codes import error_body
from realtime.errors import TooLarge

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Intake:
    """Wraps an ASGI application.

    - `root_path` is always empty: Daphne takes it from a header that any client can send.
    - X-Forwarded-For and -Proto count only from `trusted_proxies`, and nobody behind this sees these headers.
    - A body over `body_limit_bytes` is answered 413 in the one error shape.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._proxies = _networks(conf().trusted_proxies)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._bounded(self._cleaned(scope), receive, send)
        elif scope["type"] == "websocket":
            await self._application(self._cleaned(scope), receive, send)
        else:
            await self._application(scope, receive, send)

    def _cleaned(self, scope: MutableMapping[str, Any]) -> dict[str, Any]:
        cleaned = dict(scope, root_path="")
        cleaned["headers"] = [
            (name, value)
            for name, value in scope["headers"]
            if name != b"forwarded" and not name.startswith(b"x-forwarded-")
        ]
        peer = scope.get("client")
        if peer is None or not self._is_proxy(peer[0]):
            return cleaned
        for address in reversed(_listed(scope, b"x-forwarded-for")):
            if not _is_address(address):
                break
            cleaned["client"] = [address, 0]
            if not self._is_proxy(address):
                break
        schemes = _listed(scope, b"x-forwarded-proto")
        if schemes and schemes[-1].lower() in ("http", "https"):
            secure = schemes[-1].lower() == "https"
            cleaned["scheme"] = ("ws" if scope["type"] == "websocket" else "http") + ("s" if secure else "")
        return cleaned

    def _is_proxy(self, address: str) -> bool:
        return _is_address(address) and any(ip_address(address) in network for network in self._proxies)

    async def _bounded(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        limit = conf().body_limit_bytes
        lengths = _listed(scope, b"content-length")
        if any(length.isdecimal() and int(length[:20]) > limit for length in lengths):
            await _refuse(send, limit)
            return
        taken = 0
        answered = False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise _BodyTooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._application(scope, counted, noted)
        except _BodyTooLarge:
            if not answered:
                await _refuse(send, limit)


class _BodyTooLarge(Exception):
    """The application was stopped in the middle of reading."""


async def _refuse(send: Send, limit: int) -> None:
    body = body_too_large(limit)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def body_too_large(limit: int) -> bytes:
    """The answer to a body over the limit."""
    return error_body(TooLarge(f"A request body may have {limit:,} bytes.", field="body"))


def _listed(scope: MutableMapping[str, Any], name: bytes) -> list[str]:
    values = (value.decode("latin1") for key, value in scope["headers"] if key == name)
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _networks(texts: tuple[str, ...]) -> list[Any]:
    try:
        return [ip_network(text, strict=False) for text in texts]
    except ValueError as error:
        raise ImproperlyConfigured(f"HEADWATER_TRUSTED_PROXIES: {error}") from None
