"""A server that is told to end: whom it still serves, what it tells its clients, and what it waits for."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conftest import MakeServer
from tests.delivery.served import furnish, publish, read_values, watch
from tests.faults.byhand import (
    begin_to_publish,
    deaf_socket,
    deaf_stream,
    is_ended,
    open_request,
    overfill,
    rest_of,
)
from tests.services import accepts, wait_until
from tests.serving import ROOT, TRACEBACK, Server, environment

from .unhurried import UNHURRIED

SOCKETS = 80


@dataclass
class Crowd:
    """Clients that watch until they are sent away."""

    server: Server
    watching: int = 0
    codes: list[tuple[int, str] | None] = field(default_factory=list)
    closed_in_turn: list[int] = field(default_factory=list)
    ended_streams: int = 0
    turn: int = 0

    async def socket(self) -> None:
        async with connect(f"{self.server.ws_url}/ws/feeds/count/", open_timeout=30) as client:
            await client.recv()
            self.watching += 1
            try:
                while True:
                    await client.recv()
            except ConnectionClosed as closed:
                self.codes.append((closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else None)
                self.closed_in_turn.append(self.turn)

    async def stream(self, client: httpx.AsyncClient) -> None:
        async with client.stream("GET", f"{self.server.url}/feeds/count/events") as answer:
            self.watching += 1
            async for _ in answer.aiter_raw():
                pass
        self.ended_streams += 1

    async def count_turns(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0.01)


async def until(crowd: Crowd, *, watching: int = 0, closed: int = 0) -> None:
    """Return when so many watch and so many WebSockets were closed."""
    async with asyncio.timeout(60):
        while crowd.watching < watching or len(crowd.codes) < closed:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def ask_while_it_drains(server: Server) -> None:
    """Not ready, no new sockets and streams, everything else as ever."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        ready = await client.get(f"{server.url}/readyz")
        assert (ready.status_code, ready.json()["checks"]["server"]["ok"]) == (503, False)
        value = await client.get(f"{server.url}/api/feeds/count")
        assert (value.status_code, value.headers["connection"]) == (200, "close")
        # Without an answer: a browser's EventSource would give up for good at a 503.
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{server.url}/feeds/count/events")
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{server.ws_url}/ws/feeds/count/", open_timeout=30)
    answer = refused.value.response
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert json.loads(answer.body or b"")["error"]["code"] == "unavailable"


async def test_it_sends_its_clients_away_one_after_the_other_and_finishes_what_it_has_in_hand(
    serve: MakeServer,
) -> None:
    server = await asyncio.to_thread(serve, HEADWATER_APPS=UNHURRIED)
    token = await asyncio.to_thread(furnish, server, "count", "large")
    publish(server, token, "count", 1)
    for number in range(5):
        publish(server, token, "large", [number, "x" * 900_000])
    crowd = Crowd(server)
    with ExitStack() as stack:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client, asyncio.TaskGroup() as group:
            turns = group.create_task(crowd.count_turns())
            for _ in range(SOCKETS):
                group.create_task(crowd.socket())
            for _ in range(20):
                group.create_task(crowd.stream(client))
            await until(crowd, watching=SOCKETS + 20)
            body = b'{"data": "the last word"}'
            publishing = stack.enter_context(begin_to_publish(server, token, "count", body))
            history = "GET /api/feeds/large/history?limit=5"
            reading = stack.enter_context(open_request(server, history, b"\r\n", b"HTTP/1.1 200 OK\r\n"))
            deaf = stack.enter_context(deaf_socket(server, "count"))  # while it is there, we may ask
            assert server.process is not None
            server.process.send_signal(signal.SIGTERM)
            await until(crowd, closed=1)
            await ask_while_it_drains(server)
            deaf.close()
            await until(crowd, closed=SOCKETS)
            turns.cancel()
        assert crowd.codes == [(1012, "restart")] * SOCKETS
        assert crowd.ended_streams == 20
        assert len(set(crowd.closed_in_turn)) > 5
        await asyncio.to_thread(wait_until, lambda: not accepts(server.port), "the port is closed")
        publishing.sendall(body)
        head, answer = await asyncio.to_thread(rest_of, publishing)
        assert head.startswith(b"HTTP/1.1 201 Created\r\n"), head
        assert json.loads(answer)["offset"] == 2
        _, answer = await asyncio.to_thread(rest_of, reading)
        assert len(json.loads(answer)["publications"]) == 5
    assert await asyncio.to_thread(server.process.wait, 60) == 0
    for complaint in ("destroyed", "never awaited", "cut_off", "did_not_end"):
        assert complaint not in server.output


def test_it_waits_for_a_request_in_hand_until_a_second_signal_hurries_it(serve: MakeServer) -> None:
    server = serve(HEADWATER_APPS=UNHURRIED)
    token = furnish(server, "count")
    body = b'{"data": "the last word"}'
    with (
        begin_to_publish(server, token, "count", body) as publishing,
        begin_to_publish(server, token, "count", b"never sent"),
        watch(server, "/ws/feeds/count/") as client,
    ):
        client.recv(timeout=30)
        assert server.process is not None
        server.process.send_signal(signal.SIGINT)
        with pytest.raises(ConnectionClosed) as closed:
            read_values(client, 1)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "restart")
        wait_until(lambda: not accepts(server.port), "the port is closed")
        publishing.sendall(body)
        assert rest_of(publishing)[0].startswith(b"HTTP/1.1 201 Created\r\n")
        server.process.send_signal(signal.SIGINT)
        # It would wait for the other body, longer than this.
        assert server.process.wait(60) == 0
    assert "destroyed" not in server.output
    assert "never awaited" not in server.output


def test_clients_that_read_nothing_hold_it_no_longer_than_a_close_takes(serve: MakeServer) -> None:
    server = serve("--no-engine", HEADWATER_STALL_LIMIT_S="600")
    server.call("POST", "/feeds", {"slug": "level", "public": True, "latest_only": True})
    with deaf_stream(server, "level") as stream, deaf_socket(server, "level") as websocket:
        overfill(server, server.token, "level")
        assert not is_ended(stream)
        assert not is_ended(websocket)
        assert server.terminate() == 0
    assert "cut_off" not in server.output, "it waited until its own limit"


def test_control_c_while_it_starts_prints_no_traceback(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "manage.py", "serve"],
        cwd=ROOT,
        env=environment(tmp_path / "data"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    with process:
        try:
            for line in process.stderr:
                said += line
                # Where Python runs a callback, as of a weak reference, it reports what is raised and goes on:
                # then whoever pressed Ctrl-C presses it again.
                if line.endswith("| django.core.management\n") or line.startswith("KeyboardInterrupt"):
                    process.send_signal(signal.SIGINT)
            process.wait(60)
        finally:
            process.kill()
    assert said.count(TRACEBACK) == said.count("Exception ignored in"), said[-2000:]
    assert process.returncode == 130, said[-2000:]
