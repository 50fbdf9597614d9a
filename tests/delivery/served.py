"""What tests of a running server need: feeds and tokens in its database, publishing, and two clients."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.serving import Server


def furnish(server: Server, *slugs: str) -> str:
    """Add these public push feeds to a running server; a token that may do everything."""
    for slug in slugs:
        server.call("POST", "/feeds", {"slug": slug, "public": True})
    return server.token


def publish(server: Server, token: str, slug: str, value: Any) -> dict[str, Any]:
    """Publish over the API; the position. Raises OSError when the server does not answer with success."""
    position: dict[str, Any] = server.call("POST", f"/feeds/{slug}/publish", {"data": value}, token=token)
    return position


def dial(server: Server) -> socket.socket:
    """A connection that buffers little, however much is sent; a context manager."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", server.port))
    return connection


def watch(server: Server, path: str, **options: Any) -> ClientConnection:
    """A WebSocket by a library that nobody here wrote; a context manager.

    It reads as much as comes, whether or not the test takes it, so that it answers pings all the time.
    """
    settings: dict[str, Any] = {"open_timeout": 30, "close_timeout": 10, "max_queue": None}
    return connect(server.ws_url + path, **settings | options)


def read(socket: ClientConnection) -> dict[str, Any]:
    """The next message, within 30 s."""
    content: dict[str, Any] = json.loads(socket.recv(timeout=30))
    return content


def read_values(socket: ClientConnection, count: int) -> list[Any]:
    """The data of the next `count` messages that have any."""
    values: list[Any] = []
    while len(values) < count:
        message = read(socket)
        if "data" in message:
            values.append(message["data"])
    return values


@contextmanager
def stream(server: Server, path: str, **headers: str) -> Iterator[Iterator[str]]:
    """The lines of an SSE stream that was answered 200."""
    with (
        httpx.Client(trust_env=False, timeout=30) as client,
        client.stream("GET", server.url + path, headers=headers) as answer,
    ):
        assert answer.status_code == 200
        yield answer.iter_lines()


def next_event(lines: Iterator[str]) -> tuple[str | None, dict[str, Any]]:
    """The next event's id and object; comments and `retry` are skipped."""
    identity = None
    for line in lines:
        if line.startswith("id: "):
            identity = line[4:]
        elif line.startswith("data: "):
            return identity, json.loads(line[6:])
    raise EOFError("the stream ended")
