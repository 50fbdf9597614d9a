"""What an upstream can do with a request: answer well, badly, slowly, half, endlessly or not at all.

A reply is an async function of the request and the connection's writer. One that returns True has answered
completely, so the connection may carry the next request; otherwise it is closed.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from asyncio import StreamWriter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True, slots=True)
class Heard:
    """One request as it came in. Header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    step: int = 0  # how many came to this path before


Reply = Callable[[Heard, StreamWriter], Awaitable[bool]]


def head(status: int, headers: Mapping[str, str]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Other"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode("latin-1")


def answers(
    body: bytes | str | Callable[[int], bytes] = b"",
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    etag: str = "",
    last_modified: str = "",
) -> Reply:
    """A complete answer; a callable body gets the step. 304 when a validator of the request still holds."""

    async def reply(heard: Heard, writer: StreamWriter) -> bool:
        found = body(heard.step) if callable(body) else body
        content = found.encode() if isinstance(found, str) else found
        extra = dict(headers or {})
        if etag:
            extra["ETag"] = etag
        if last_modified:
            extra["Last-Modified"] = last_modified
        asked_etag = heard.headers.get("if-none-match", "")
        asked_date = heard.headers.get("if-modified-since", "")
        if (etag and asked_etag == etag) or (
            last_modified and not asked_etag and asked_date == last_modified
        ):
            writer.write(head(304, extra))
            return True
        extra = {"Content-Type": content_type, "Content-Length": str(len(content))} | extra
        writer.write(head(status, extra) + content)
        await writer.drain()
        return True

    return reply


def says(value: Any, **more: Any) -> Reply:
    """A JSON value."""
    return answers(json.dumps(value), **more)


def later(retry_after: str, *, status: int = 429) -> Reply:
    return answers("later", status=status, content_type="text/plain", headers={"Retry-After": retry_after})


def redirects(to: str, *, status: int = 302) -> Reply:
    return answers(status=status, headers={"Location": to})


def after(delay_s: float, reply: Reply) -> Reply:
    """The same, slowly."""

    async def slow(heard: Heard, writer: StreamWriter) -> bool:
        await asyncio.sleep(delay_s)
        return await reply(heard, writer)

    return slow


def in_turn(*replies: Reply) -> Reply:
    """The first for the first request after this call, and so on; the last one for all that follow."""
    waiting = list(replies)

    async def reply(heard: Heard, writer: StreamWriter) -> bool:
        current = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return await current(heard, writer)

    return reply


async def drips(heard: Heard, writer: StreamWriter) -> bool:
    """A digit every 20 ms, for ever."""
    writer.write(head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}))
    while not writer.is_closing():
        writer.write(b"1\r\n1\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)
    return False


async def half(heard: Heard, writer: StreamWriter) -> bool:
    """The first bytes of what was promised, then the end."""
    writer.write(head(200, {"Content-Type": "application/json", "Content-Length": "1000"}) + b'{"value": ')
    return False


async def endless(heard: Heard, writer: StreamWriter) -> bool:
    """Chunks as fast as they are taken, without a Content-Length."""
    writer.write(head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}))
    while not writer.is_closing():
        writer.write(b"10000\r\n" + b"1" * 0x10000 + b"\r\n")
        await writer.drain()
    return False


async def never(heard: Heard, writer: StreamWriter) -> bool:
    """Takes the request and says nothing, until the upstream stops."""
    await asyncio.Event().wait()
    return False


async def hangs_up(heard: Heard, writer: StreamWriter) -> bool:
    return False


def raw(data: bytes) -> Reply:
    """These bytes and then the end."""

    async def reply(heard: Heard, writer: StreamWriter) -> bool:
        writer.write(data)
        return False

    return reply


async def bomb(heard: Heard, writer: StreamWriter) -> bool:
    """A compressed answer that would grow a thousandfold."""
    content = gzip.compress(b"0" * 10_000_000)
    return await answers(content, headers={"Content-Encoding": "gzip"})(heard, writer)
