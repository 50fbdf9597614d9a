"""WebSocket handshakes: a portion in each turn of the loop, behind which nothing else has to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from daphne.http_protocol import HTTPFactory
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from realtime.delivery import keeping, serve
from realtime.delivery.daphne import Socket, socket_class
from realtime.delivery.serve import HeadwaterServer
from tests.faults.byhand import UPGRADE

HANDSHAKE = b"GET /ws/feeds/count/ HTTP/1.1\r\nHost: testserver\r\n" + UPGRADE
PAGE = b"GET /healthz HTTP/1.1\r\nHost: testserver\r\n\r\n"


class Client:
    """A connection to a server in this process, over bytes in memory."""

    def __init__(self, server: HeadwaterServer) -> None:
        self.wire = StringTransport(peerAddress=IPv4Address("TCP", "127.0.0.1", 50_000))
        self._channel = server.http_factory.buildProtocol(self.wire.getPeer())
        self._channel.makeConnection(self.wire)

    def send(self, data: bytes) -> None:
        self._channel.dataReceived(data)

    def leave(self) -> None:
        self._channel.connectionLost(Failure(error.ConnectionDone()))

    @property
    def status(self) -> str:
        """Of the answer, empty before it comes."""
        return self.wire.value()[9:12].decode()


async def _application(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"well"})


@asynccontextmanager
async def _no_work() -> Any:
    yield


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> HeadwaterServer:
    """A server as it is when Daphne calls it ready, on this loop; a slice is one handshake long."""
    monkeypatch.setattr(keeping, "SLICE_S", 0.0)
    monkeypatch.setattr(serve.reactor, "callWhenRunning", lambda call: None)
    made = HeadwaterServer(_application, host="127.0.0.1", port=0, listening=print, work=_no_work)
    made.connections = {}
    made.http_factory, made.ws_factory = HTTPFactory(made), WebSocketFactory(made, server="headwater")
    made._ready()
    return made


def begun(server: HeadwaterServer) -> int:
    """The handshakes that have begun."""
    return sum(isinstance(protocol, Socket) for protocol in server.connections)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not reached():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_handshakes_that_come_at_once_are_made_one_slice_a_turn(server: HeadwaterServer) -> None:
    clients = [Client(server) for _ in range(5)]
    for client in clients:
        client.send(HANDSHAKE)
    made = [begun(server)]
    for _ in range(5):
        await asyncio.sleep(0)
        made.append(begun(server))
    assert made == [0, 1, 2, 3, 4, 5]
    await until(lambda: all(client.status == "101" for client in clients))


async def test_a_request_does_not_wait_behind_handshakes(server: HeadwaterServer) -> None:
    clients = [Client(server) for _ in range(50)]
    for client in clients:
        client.send(HANDSHAKE)
    page = Client(server)
    page.send(PAGE)
    await until(lambda: page.status == "200")
    assert begun(server) < 10, "most of those who came before it still wait"


async def test_who_has_gone_before_the_turn_came_costs_no_handshake(
    server: HeadwaterServer, caplog: pytest.LogCaptureFixture
) -> None:
    gone, patient = Client(server), Client(server)
    for client in (gone, patient):
        client.send(HANDSHAKE)
    gone.leave()
    await until(lambda: patient.status == "101")
    assert begun(server) == 1
    assert gone.wire.value() == b""
    assert not caplog.records


async def test_who_waits_when_the_server_begins_to_drain_is_refused(server: HeadwaterServer) -> None:
    clients = [Client(server) for _ in range(3)]
    for client in clients:
        client.send(HANDSHAKE)
    await asyncio.sleep(0)
    server.drain.begun = True
    await until(lambda: all(client.status for client in clients))
    assert [client.status for client in clients] == ["101", "503", "503"]
    assert b"retry-after: 1" in clients[1].wire.value().lower()


async def test_a_socket_has_the_options_of_its_own_server_s_factory(server: HeadwaterServer) -> None:
    other = WebSocketFactory(server)
    other.setProtocolOptions(closeHandshakeTimeout=77)
    other.protocol = socket_class(other)
    for factory in (server.ws_factory, other):
        socket = factory.buildProtocol(None)
        for name in WebSocketProtocol.CONFIG_ATTRS:
            assert getattr(socket, name) == getattr(factory, name), name
        assert socket.CONFIG_ATTRS == (), "nothing to copy and to format for each connection"
    assert server.ws_factory.closeHandshakeTimeout == serve.CLOSE_TIMEOUT_S
