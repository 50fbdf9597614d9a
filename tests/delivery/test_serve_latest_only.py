"""A latest-only feed on the real server: who falls behind skips to the newest value, and nobody is let go."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import psutil

from tests.conftest import MakeServer
from tests.delivery.served import dial, furnish, next_event, publish, read, read_values, watch
from tests.services import wait_until
from tests.serving import Server

PUBLISHED = 300


def furnish_latest_only(server: Server, slug: str) -> str:
    """Such a feed, public; a token that may do everything."""
    token = furnish(server, slug)
    changed = httpx.patch(
        f"{server.url}/api/feeds/{slug}",
        json={"latest_only": True},
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    )
    assert changed.json()["latest_only"] is True
    return token


def events(connection: socket.socket, path: str) -> Iterator[str]:
    """The lines of an SSE stream, read when they are asked for."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    reader = connection.makefile("r", encoding="utf-8", newline="\n")
    assert "200" in next(reader)
    return (line.rstrip("\n") for line in reader)


def last_of(messages: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """The message of offset `PUBLISHED`. Before it, every hole in the offsets is told by a reset."""
    told = (message for message in messages if message["type"] != "status")
    before = next(told)
    assert before["type"] == "snapshot"
    while before["offset"] < PUBLISHED:
        message = next(told)
        assert message["epoch"] == before["epoch"]
        skipped = message["offset"] - before["offset"] - 1
        assert (message["type"], skipped > 0) in (("update", False), ("reset", True))
        before = message
    return before


def test_who_stops_reading_skips_to_the_newest_value_and_a_neighbour_gets_everything(
    serve: MakeServer,
) -> None:
    # Who does not read answers no pings, and is let go for that by either side.
    patience = {"HEADWATER_STALL_LIMIT_S": "600", "HEADWATER_PING_S": "600"}
    server = serve("--no-engine", HEADWATER_SEND_LIMIT_BYTES="65536", **patience)
    token = furnish_latest_only(server, "level")
    with (
        watch(server, "/ws/feeds/level/", sock=dial(server), max_queue=1, ping_interval=None) as slow,
        dial(server) as stream,
        watch(server, "/ws/feeds/level/") as neighbour,
    ):
        slow_lines = events(stream, "/feeds/level/events")
        read_values(neighbour, 1)
        for number in range(1, PUBLISHED + 1):
            publish(server, token, "level", [number, "x" * 60_000])
            told = read(neighbour)
            while told["type"] == "status":
                told = read(neighbour)
            assert (told["type"], told["data"][0]) == ("update", number)
        by_socket = last_of(read(slow) for _ in count())
        by_stream = last_of(next_event(slow_lines)[1] for _ in count())
        for newest in (by_socket, by_stream):
            assert (newest["type"], newest["data"][0]) == ("reset", PUBLISHED)
        publish(server, token, "level", "still here")
        for told in (read(slow), next_event(slow_lines)[1]):
            assert (told["type"], told["offset"], told["data"]) == ("update", PUBLISHED + 1, "still here")


def test_a_stream_of_which_nothing_is_read_is_cut_off(serve: MakeServer) -> None:
    server = serve("--no-engine", HEADWATER_STALL_LIMIT_S="1")
    token = furnish_latest_only(server, "level")
    with dial(server) as connection:
        ours = connection.getsockname()
        next_event(events(connection, "/feeds/level/events"))
        process = psutil.Process(server.pid)

        def holds_it() -> bool:
            return any(each.raddr == ours for each in process.net_connections())

        assert holds_it()
        for number in range(100):
            publish(server, token, "level", [number, "x" * 60_000])
        wait_until(lambda: not holds_it(), "the connection is gone")
