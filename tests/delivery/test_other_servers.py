"""The same application under servers that `manage.py serve` is not: Daphne's own command and Uvicorn."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import MakeServer
from tests.delivery.served import furnish, next_event, publish, read, read_values, stream, watch
from tests.services import accepts, free_port, wait_until
from tests.serving import ROOT, TRACEBACK


@pytest.mark.parametrize("name", ["daphne", "uvicorn"])
def test_sockets_and_streams_work_without_our_server(serve: MakeServer, name: str) -> None:
    server = serve("--no-engine", start=False)
    server.port = free_port()
    where = {"daphne": ["-b", "127.0.0.1", "-p"], "uvicorn": ["--host", "127.0.0.1", "--port"]}[name]
    with (server.data_dir / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", name, *where, str(server.port), "project.asgi:application"],
            cwd=ROOT,
            env=server.env,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: accepts(server.port), f"{name} listens")
        token = furnish(server, "count")
        publish(server, token, "count", 1)
        with watch(server, "/ws/feeds/count/") as client, stream(server, "/feeds/count/events") as lines:
            assert read_values(client, 1) == [1]
            identity, _ = next_event(lines)
            next_event(lines)
            publish(server, token, "count", 2)
            assert read_values(client, 1) == [2]
            assert next_event(lines)[1]["data"] == 2
        with stream(server, "/feeds/count/events", **{"Last-Event-ID": str(identity)}) as lines:
            assert next_event(lines)[1]["data"] == 2
        with watch(server, "/nothing/here") as client:
            assert read(client)["code"] == "not_found"
            with pytest.raises(ConnectionClosed) as closed:
                read(client)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4404
        refused = httpx.post(f"{server.url}/api/feeds", content=b"x" * 2_100_000, trust_env=False)
        assert refused.status_code == 413
        assert refused.json()["error"]["code"] == "too_large"
    finally:
        process.terminate()
        process.wait(30)
    assert TRACEBACK not in server.output
