"""The plain WebSocket on the real server, watched by a library that nobody here wrote."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.conftest import MakeServer
from tests.delivery.served import dial, furnish, next_event, publish, read, read_values, stream, watch
from tests.delivery.test_pings import FIRST, LAST, PONG
from tests.faults.byhand import UPGRADE, open_request
from tests.faults.unhurried import UNHURRIED
from tests.serving import Server


def _close_code(client: ClientConnection) -> int | None:
    """The code that the server closes with, whatever comes before."""
    try:
        while True:
            client.recv(timeout=30)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def test_the_value_then_changes_then_resuming(server: Server) -> None:
    token = furnish(server, "count")
    publish(server, token, "count", 1)
    with watch(server, "/ws/feeds/count/") as client:
        assert read(client)["type"] == "snapshot"
        assert read(client)["type"] == "status"
        position = publish(server, token, "count", 2)
        assert read(client)["data"] == 2
        client.send('{"type": "ping"}')
        assert read(client) == {"type": "pong"}
    publish(server, token, "count", 3)
    since = f"{position['epoch']}:{position['offset']}"
    with watch(server, f"/ws/feeds/count/?since={since}") as client:
        assert read(client)["data"] == 3
    with watch(server, "/ws/feeds/count/?since=another:1") as client:
        first = read(client)
        assert (first["type"], first["data"]) == ("reset", 3)


def test_rows_are_told_to_who_asks_for_them(server: Server) -> None:
    furnish(server, "orders")
    rows = [{"id": number, "customer": f"Customer {number}", "total": number} for number in range(10)]
    body = {"channel": "feed:orders", "tags": {"key": "id"}}

    def publish_rows() -> None:
        assert "result" in server.call("POST", f"/publish?api_key={server.token}", body | {"data": rows})

    publish_rows()
    with (
        watch(server, "/ws/feeds/orders/?delta=rows") as client,
        watch(server, "/ws/feeds/orders/") as neighbour,
        stream(server, "/feeds/orders/events?delta=rows") as lines,
    ):
        assert read(client)["data"] == read(neighbour)["data"] == next_event(lines)[1]["data"] == rows
        assert read(client)["type"] == read(neighbour)["type"] == next_event(lines)[1]["type"] == "status"
        rows[7]["total"] = 77
        publish_rows()
        assert read(client)["rows"] == next_event(lines)[1]["rows"] == {"changed": [rows[7]]}
        assert read(neighbour)["data"] == rows


def test_a_flood_of_messages_is_answered_one_by_one_and_hurts_nobody(server: Server) -> None:
    token = furnish(server, "count")
    with watch(server, "/ws/feeds/count/") as flooding, watch(server, "/ws/feeds/count/") as neighbour:
        for client in (flooding, neighbour):
            assert read(client)["type"] == "snapshot"
        for _ in range(5000):
            flooding.send('{"type":"ping"}')
        publish(server, token, "count", "through")
        assert read_values(neighbour, 1) == ["through"]
        types = [read(flooding)["type"] for _ in range(5002)]
    assert types.count("pong") == 5000
    assert types.count("update") == 1


def test_refusals_come_as_error_and_code(server: Server) -> None:
    furnish(server, "count")
    foreign = {"origin": "https://elsewhere.example"}
    for path, options, code in (
        ("/ws/feeds/nowhere/", {}, 4404),
        ("/ws/nothing/here", {}, 4404),
        ("/ws/feeds/count/?since=x", {}, 4400),
        ("/ws/feeds/count/", foreign, 4403),
        ("/ws/feeds/count/?token=wrong", {}, 4401),
    ):
        with watch(server, path, **options) as client:
            assert read(client)["type"] == "error"
            assert _close_code(client) == code
    for message, code in (("", 4400), ("x" * 70_000, 4413), ("x" * 1_100_000, 1009)):
        with watch(server, "/ws/feeds/count/") as client:
            client.send(message)
            assert _close_code(client) == code
    with watch(server, "/ws/feeds/count/", origin=server.url) as client:
        assert read(client)["type"] == "snapshot"


def test_two_hundred_feeds_with_long_names_and_positions_on_one_socket(server: Server) -> None:
    slugs = [f"feed-{number:03d}-{'x' * 80}" for number in range(200)]
    furnish(server, *slugs)
    query = "&".join(f"feed={slug}@unknown-epoch:1234567890" for slug in slugs)
    with watch(server, f"/ws/feeds/?{query}") as client:
        messages = [read(client) for _ in range(400)]
    assert {message["feed"] for message in messages if message["type"] == "reset"} == set(slugs)
    assert {message["feed"] for message in messages if message["type"] == "status"} == set(slugs)


def test_a_slow_reader_is_closed_by_its_code_and_its_neighbour_gets_everything(serve: MakeServer) -> None:
    # It must find the close frame behind all that it has not read yet, and answers no pings meanwhile.
    patience = {"HEADWATER_APPS": UNHURRIED, "HEADWATER_STALL_LIMIT_S": "600", "HEADWATER_PING_S": "600"}
    server = serve("--no-engine", HEADWATER_SEND_LIMIT_BYTES="65536", **patience)
    token = furnish(server, "count")
    options = {"max_queue": 1, "max_size": None, "ping_interval": None}
    with (
        watch(server, "/ws/feeds/count/", sock=dial(server), **options) as slow,
        watch(server, "/ws/feeds/count/", max_size=None) as neighbour,
    ):
        read_values(neighbour, 1)
        for number in range(10):
            publish(server, token, "count", [number, "x" * 900_000])
            assert read_values(neighbour, 1)[0][0] == number
        assert _close_code(slow) == 4408


@pytest.mark.database
def test_kill_9_leaves_no_hole_and_a_client_that_resumes_has_everything_once(serve: MakeServer) -> None:
    server = serve()
    token = furnish(server, "count")
    last = 300
    acknowledged: list[int] = []

    def publish_all() -> None:
        number = 1
        while number <= last:
            try:
                # Sent again when it is not known to have arrived: an unchanged value is no publication.
                acknowledged.append(publish(server, token, "count", number)["offset"])
                number += 1
            except OSError:
                time.sleep(0.05)

    publisher = threading.Thread(target=publish_all)
    publisher.start()
    try:
        seen: list[tuple[int, int]] = []
        position = ""
        killed = 0
        while len(seen) < last:
            try:
                with watch(server, f"/ws/feeds/count/{position}") as client:
                    while len(seen) < last:
                        message = read(client)
                        assert message["type"] != "reset"
                        if message["type"] in ("update", "snapshot") and message["offset"]:
                            seen.append((message["offset"], message["data"]))
                        if "offset" in message:
                            position = f"?since={message['epoch']}:{message['offset']}"
                        if killed < 2 and len(seen) >= 100 * (killed + 1):
                            killed += 1
                            server.kill()
                            server.start()
            except (ConnectionClosed, OSError):
                continue
    finally:
        publisher.join(60)
    first = seen[0][0]
    assert seen == [(offset, offset) for offset in range(first, last + 1)]
    assert acknowledged == list(range(1, last + 1))
    assert killed == 2


@pytest.mark.database
def test_commits_of_another_process_arrive(server: Server) -> None:
    furnish(server, "count")
    code = "from realtime.feeds.runtime import publish; publish('count', 'from elsewhere')"
    with watch(server, "/ws/feeds/count/") as client:
        read_values(client, 1)
        shell = threading.Thread(target=server.manage, args=("shell", "-c", code))
        shell.start()
        try:
            assert read_values(client, 1) == ["from elsewhere"]
        finally:
            shell.join()


def test_pongs_in_pieces_and_between_the_frames_of_a_message_change_nothing(server: Server) -> None:
    token = furnish(server, "count")
    head, answer = "GET /ws/feeds/count/", b"HTTP/1.1 101 Switching Protocols\r\n"
    with open_request(server, head, UPGRADE, answer) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        got = b""
        for number, piece in enumerate((PONG, PONG[:3], PONG[3:], PONG * 2, FIRST, PONG, LAST)):
            client.sendall(piece)
            publish(server, token, "count", number)
            while b'"data":%d}' % number not in got:  # then the server has read the piece
                got += client.recv(4096)
        while b'{"type":"pong"}' not in got:
            got += client.recv(4096)


def test_every_socket_is_pinged_and_one_that_never_answers_is_let_go(serve: MakeServer) -> None:
    server = serve("--no-engine", HEADWATER_PING_S="3")
    furnish(server, "count")
    head = "Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    with (
        watch(server, "/ws/feeds/count/") as answering,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as silent,
    ):
        silent.sendall(
            f"GET /ws/feeds/count/ HTTP/1.1\r\n{head}Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode()
        )
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while part := silent.recv(4096):
                got += part
        assert got.endswith(b"\x89\x00"), "the last that came was a ping"
        answering.send('{"type":"ping"}')
        while read(answering)["type"] != "pong":
            pass
