"""One-way streams on real servers: two processes behind nginx and Redis, raw clients and the npm client."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conftest import MakeServer
from tests.delivery.centrifuge.answers import commands
from tests.delivery.served import furnish, publish, watch
from tests.faults.byhand import deaf_socket, is_ended, open_request, overfill
from tests.faults.unhurried import UNHURRIED
from tests.sdk.node_sdk import NodeSdk
from tests.services import Nginx, wait_until
from tests.serving import Server

CONNECT = {"id": 1, "connect": {}}
SUBSCRIBE = {"id": 2, "subscribe": {"channel": "feed:count"}}


@pytest.fixture
def pair(serve: MakeServer, redis_url: str) -> tuple[Server, Server]:
    """Two processes on one Redis, with little patience for slow readers, until they end."""
    settings = {"HEADWATER_SEND_LIMIT_BYTES": "65536", "HEADWATER_STALL_LIMIT_S": "1"}
    settings |= {"REDIS_URL": redis_url, "HEADWATER_APPS": UNHURRIED}
    one = serve("--no-engine", start=False, **settings)
    two = serve("--no-engine", start=False, like=one)
    for server in (one, two):
        server.launch()
    for server in (one, two):
        server.wait()
    return one, two


@contextmanager
def stream(method: str, url: str, **options: Any) -> Iterator[Iterator[dict[str, Any]]]:
    """The objects of a stream, whether by lines or by events; pings are skipped."""
    with (
        httpx.Client(trust_env=False, timeout=60) as client,
        client.stream(method, url, **options) as answer,
    ):
        assert answer.status_code == 200
        lines = (line.removeprefix("data: ") for line in answer.iter_lines())
        yield (json.loads(line) for line in lines if line not in ("", "{}"))


def say(server: Server, connected: dict[str, Any], *said: dict[str, Any]) -> int:
    """Send commands by this server; the status."""
    envelope = {"session": connected["session"], "node": connected["node"], "data": commands(*said)}
    return httpx.post(f"{server.url}/emulation", json=envelope, trust_env=False, timeout=60).status_code


def test_raw_clients_are_heard_on_any_process_and_told_when_theirs_goes(pair: tuple[Server, Server]) -> None:
    one, two = pair
    token = furnish(one, "count", "large")
    publish(one, token, "count", 1)
    with open_deaf(two) as deaf:
        overfill(two, token, "large")
        wait_until(lambda: is_ended(deaf), "a client that reads nothing is cut off")
    body = commands(CONNECT)
    # They answer no pings, so after 20 s at the earliest they would be let go.
    with ExitStack() as stack:
        lines = stack.enter_context(stream("POST", f"{one.url}/connection/http_stream", content=body))
        events = stack.enter_context(stream("GET", f"{one.url}/connection/sse", params={"cf_connect": body}))
        told = [lines, events]
        connected = [next(each)["connect"] for each in told]
        for each, client in zip(told, connected, strict=True):
            assert say(two, client, SUBSCRIBE) == 204
            assert next(each)["subscribe"]["offset"] == 1
        publish(two, token, "count", 2)
        assert [next(each)["push"]["pub"]["data"] for each in told] == [2, 2]
        listeners = [
            stack.enter_context(stream("POST", f"{one.url}/connection/uni_http_stream", content="{}")),
            stack.enter_context(stream("GET", f"{one.url}/connection/uni_sse")),
        ]
        for each in listeners:
            assert next(each)["connect"]["client"]
        assert one.terminate() == 0
        for each in told:
            disconnects = [message["push"]["disconnect"] for message in each]
            assert disconnects == [{"code": 3001, "reason": "shutdown", "reconnect": True}]
        for each in listeners:
            assert [m["disconnect"]["code"] for m in each] == [3001]
        assert say(two, connected[0], {"id": 9, "ping": {}}) == 404


def open_deaf(server: Server) -> socket.socket:
    """A stream that is subscribed to `feed:large`, and of which nothing more is read."""
    body = commands(CONNECT, {"id": 2, "subscribe": {"channel": "feed:large"}}).encode()
    headers = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    connection = open_request(server, "POST /connection/http_stream", headers, b"HTTP/1.1 200 OK\r\n")
    received = b""
    while b'"subscribe"' not in received:
        received += connection.recv(1000)
    return connection


def test_a_listening_socket_takes_its_request_in_the_address_or_as_first_message(server: Server) -> None:
    with watch(server, "/connection/uni_websocket?cf_connect=%7B%7D") as client:
        assert json.loads(client.recv(timeout=30))["connect"]["client"]
    with watch(server, "/connection/uni_websocket") as client:
        client.send("{}")
        assert json.loads(client.recv(timeout=30))["connect"]["client"]
        client.send("{}")
        assert json.loads(client.recv(timeout=30))["disconnect"]["code"] == 3501
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 3501
    with watch(server, "/connection/uni_websocket") as client:
        client.send('{"data": "%s"}' % ("x" * 66_000))
        assert json.loads(client.recv(timeout=30))["disconnect"]["code"] == 1009
    with pytest.raises(InvalidStatus), watch(server, "/connection/uni_websocket?format=protobuf"):
        pass


@pytest.fixture
def nginx(pair: tuple[Server, Server]) -> Iterator[Nginx]:
    running = Nginx(pair[0].port, pair[1].port)
    try:
        running.start()
        yield running
    finally:
        running.close()


def test_the_npm_client_recovers_behind_nginx_when_its_process_dies(
    pair: tuple[Server, Server], nginx: Nginx
) -> None:
    """With emulation by either process; every publication once and in order, whatever the transport."""
    one, two = pair
    token = furnish(two, "count")
    kinds = ["http_stream", "http_stream_protobuf", "sse"]
    with ExitStack() as stack:
        sdk = stack.enter_context(closing(NodeSdk()))
        clients = [sdk.open(nginx.url.replace("http", "ws", 1), kind) for kind in kinds]
        for client, kind in zip(clients, kinds, strict=True):
            assert client.enter()["transport"] == kind.removesuffix("_protobuf")
            client.join("feed:count", recoverable=True)
            assert client.refused("rpc", method="nothing", data=1) == 108
        for number in range(5):
            publish(two, token, "count", number)
        for client in clients:
            assert client.values("feed:count", 5) == [0, 1, 2, 3, 4]
        one.kill()
        for number in range(5, 10):
            publish(two, token, "count", number)
        for client in clients:
            assert client.values("feed:count", 5) == [5, 6, 7, 8, 9]
        one.start()
        # Somebody who does not go keeps the process draining. It has the fewest connections then, so that
        # nginx tries it first for everybody who comes back.
        deaf = stack.enter_context(deaf_socket(two, "count"))
        assert two.process is not None
        two.process.terminate()
        for number in range(10, 15):
            publish(one, token, "count", number)
        for client in clients:
            assert client.values("feed:count", 5) == [10, 11, 12, 13, 14]
            assert not {"publication", "disconnected"} & set(client.heard.kinds())
        assert two.runs
        deaf.close()
        assert two.process.wait(60) == 0
