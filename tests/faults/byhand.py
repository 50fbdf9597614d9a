"""Connections by hand: requests that stand still in the server's hands, and a client that is deaf."""

from __future__ import annotations

import select
import socket

from tests.delivery.served import dial, publish
from tests.serving import Server

UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def open_request(server: Server, head: str, headers: bytes, answer: bytes) -> socket.socket:
    """A connection on which this beginning of the answer was read, and nothing more."""
    connection = dial(server)
    connection.sendall(f"{head} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n".encode() + headers)
    assert connection.recv(len(answer), socket.MSG_WAITALL) == answer
    return connection


def begin_to_publish(server: Server, token: str, slug: str, body: bytes) -> socket.socket:
    """A publication that the server has asked the body of, which is not sent yet."""
    headers = (
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    head = f"POST /api/feeds/{slug}/publish"
    return open_request(server, head, headers.encode(), b"HTTP/1.1 100 Continue\r\n\r\n")


def deaf_socket(server: Server, slug: str) -> socket.socket:
    """A WebSocket that never answers a close frame: until it is closed, a server drains for 5 s at least.

    An unhurried one drains until then.
    """
    head = f"GET /ws/feeds/{slug}/"
    return open_request(server, head, UPGRADE, b"HTTP/1.1 101 Switching Protocols\r\n")


def deaf_stream(server: Server, slug: str) -> socket.socket:
    """A stream of which nothing is read but the answer's first line."""
    return open_request(server, f"GET /feeds/{slug}/events", b"\r\n", b"HTTP/1.1 200 OK\r\n")


def overfill(server: Server, token: str, slug: str) -> None:
    """Publish more to a feed than the buffers on the way to a client that does not read can take."""
    for number in range(10):
        publish(server, token, slug, [number, "x" * 900_000])


def is_ended(connection: socket.socket) -> bool:
    """Whether the server has reset a connection, which needs no reading to be seen."""
    watched = select.poll()
    watched.register(connection, select.POLLRDHUP)
    return bool(watched.poll(0))


def rest_of(connection: socket.socket) -> tuple[bytes, bytes]:
    """What comes until the server closes: head and body."""
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    return head, body
