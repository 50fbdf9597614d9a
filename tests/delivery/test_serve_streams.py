"""Server-Sent Events on the real server, and what a stream costs."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import httpx
import psutil

from tests.conftest import MakeServer
from tests.delivery.served import dial, furnish, next_event, publish, stream
from tests.faults.byhand import deaf_socket, deaf_stream, is_ended, overfill
from tests.services import wait_until
from tests.serving import Server


def test_a_stream_resumes_twice_by_its_last_id(server: Server) -> None:
    token = furnish(server, "count")
    publish(server, token, "count", 1)
    with stream(server, "/feeds/count/events") as lines:
        identity, event = next_event(lines)
        assert (event["type"], event["data"]) == ("snapshot", 1)
    for value in (2, 3):
        publish(server, token, "count", value)
    with stream(server, "/feeds/count/events", **{"Last-Event-ID": str(identity)}) as lines:
        identity, event = next_event(lines)
        assert (event["type"], event["data"]) == ("update", 2)
    publish(server, token, "count", 4)
    with stream(server, f"/feeds/count/events?since={identity}") as lines:
        assert [next_event(lines)[1]["data"] for _ in range(2)] == [3, 4]
        assert next_event(lines)[1]["type"] == "status"


def test_silence_is_filled_with_heartbeats(serve: MakeServer) -> None:
    server = serve("--no-engine", HEADWATER_HEARTBEAT_S="1")
    furnish(server, "count")
    with stream(server, "/feeds/count/events") as lines:
        assert next(lines) == "retry: 2000"
        next_event(lines)
        next_event(lines)
        beats = [line for line, _ in zip(lines, range(6), strict=False)]
        assert beats.count(":") >= 2


def test_a_stream_is_refused_when_it_is_not_accepted(server: Server) -> None:
    furnish(server, "count")
    answer = httpx.get(
        server.url + "/feeds/count/events", headers={"Accept": "application/json"}, trust_env=False
    )
    assert answer.status_code == 406
    assert answer.json()["error"]["code"] == "not_acceptable"


def test_five_hundred_streams_cost_no_threads_and_all_of_them_hear(server: Server) -> None:
    token = furnish(server, "count")
    publish(server, token, "count", 1)
    process = psutil.Process(server.pid)
    request = b"GET /feeds/count/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with stream(server, "/feeds/count/events") as lines, ExitStack() as stack:
        next_event(lines)
        before = process.num_threads()
        connections = []
        for _ in range(500):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            connection.sendall(request)
            connections.append(connection)
        received = [b""] * len(connections)
        publish(server, token, "count", "the last word")
        for index, connection in enumerate(connections):
            while b"the last word" not in received[index]:
                part = connection.recv(65536)
                assert part
                received[index] += part
        # The database's own few threads start when they are first needed.
        assert process.num_threads() <= before + 5
    wait_until(lambda: len(process.net_connections()) < 50, "the streams are closed")


def test_a_stream_that_is_not_read_is_ended_and_costs_bounded_memory(serve: MakeServer) -> None:
    server = serve("--no-engine", HEADWATER_SEND_LIMIT_BYTES="65536", HEADWATER_STALL_LIMIT_S="600")
    token = furnish(server, "count")
    process = psutil.Process(server.pid)
    with ExitStack() as stack:
        slow = stack.enter_context(dial(server))
        slow.sendall(b"GET /feeds/count/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in slow.recv(1000)
        for number in range(20):  # what the first ones need stays, whoever reads
            publish(server, token, "count", [number, "x" * 60_000])
        before = process.memory_info().rss
        for number in range(20, 220):
            publish(server, token, "count", [number, "x" * 60_000])
        grown = process.memory_info().rss - before
        assert grown < 8_000_000, f"{grown:,} bytes for 12 MB published to a client that does not read"
        got = b""
        while b'"slow_reader"' not in got[-2000:]:
            part = slow.recv(65536)
            assert part, got[-300:]
            got += part


def test_whoever_is_let_go_and_never_reads_again_loses_the_connection(serve: MakeServer) -> None:
    server = serve("--no-engine", HEADWATER_SEND_LIMIT_BYTES="65536", HEADWATER_STALL_LIMIT_S="5")
    token = furnish(server, "count")
    with deaf_stream(server, "count") as stream, deaf_socket(server, "count") as websocket:
        overfill(server, token, "count")
        for connection in (stream, websocket):
            # Twisted's own idle limit would end it after 75 s.
            wait_until(lambda ended=connection: is_ended(ended), "the connection is ended", 40)  # type: ignore[misc]
