"""One server for all tests of the SDKs, and clients of every SDK, codec and transport."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.serving import Server, Template, environment

from .clients import SECRET, Client, Sdk
from .node_sdk import NodeSdk
from .python_sdk import PythonSdk

FULL = {
    "subscribe": "users",
    "publish": "subscribers",
    "presence": True,
    "history": True,
    "history_size": 100,
    "recovery": "forced",
}
SETTINGS = {
    "HEADWATER_TOKEN_SECRET": SECRET,
    "HEADWATER_PERSONAL_CHANNELS": "true",
    "HEADWATER_NAMESPACES": json.dumps(
        {
            "": FULL,
            "chat": FULL | {"join_leave": "forced"},
            "asked": FULL | {"join_leave": "asked", "recovery": "asked"},
            "small": FULL | {"history_size": 2},
            "latest": FULL | {"mode": "cache"},
            "closed": {},
        }
    ),
}
# SDK and codec or transport.
WEBSOCKETS = ("python json", "python protobuf", "node json", "node protobuf")
STREAMS = ("node http_stream", "node sse")
ALL = (*WEBSOCKETS, *STREAMS)
JAVASCRIPT = pytest.mark.parametrize(
    "clients", [kind for kind in ALL if kind.startswith("node")], indirect=True
)


@pytest.fixture(scope="session")
def sdk_server(serving_template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What `hub` lends to one test after the other."""
    folder = tmp_path_factory.mktemp("sdk") / "server"
    database = serving_template.copy(folder)
    server = Server(folder, environment(folder, **SETTINGS, **database), token=serving_template.token)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def hub(sdk_server: Server) -> Iterator[Server]:
    """A running server with these namespaces. A test may kill it and start it again."""
    if not sdk_server.runs:
        sdk_server.start()
    yield sdk_server
    sdk_server.check()


@pytest.fixture(scope="session")
def sdks() -> Iterator[dict[str, Sdk]]:
    """Both SDKs, each running once."""
    made: dict[str, Sdk] = {"python": PythonSdk(), "node": NodeSdk()}
    yield made
    for sdk in made.values():
        sdk.close()


class Clients:
    """Makes clients of one SDK and codec or transport, or of any."""

    def __init__(self, server: Server, sdks: dict[str, Sdk], kind: str) -> None:
        self._server = server
        self._sdks = sdks
        self.kind = kind
        self._made: list[Client] = []

    def open(self, *tokens: str, kind: str = "", **options: Any) -> Client:
        """A client that has not connected yet; without tokens it comes as nobody."""
        sdk, _, way = (kind or self.kind).partition(" ")
        client = self._sdks[sdk].open(self._server.ws_url, way, tokens=tokens or None, **options)
        self._made.append(client)
        return client

    def close(self) -> None:
        for client in self._made:
            client.thaw()
            client.call("disconnect")


MakeChannel = Callable[..., str]


@pytest.fixture(params=ALL)
def clients(request: pytest.FixtureRequest, hub: Server, sdks: dict[str, Sdk]) -> Iterator[Clients]:
    """Clients of every kind in turn, or of those that a test names by `parametrize(…, indirect=True)`."""
    made = Clients(hub, sdks, request.param)
    yield made
    made.close()


@pytest.fixture
def any_client(hub: Server, sdks: dict[str, Sdk]) -> Iterator[Clients]:
    """Clients whose kind is given one by one."""
    made = Clients(hub, sdks, "")
    yield made
    made.close()


@pytest.fixture
def channel() -> MakeChannel:
    """A name of a channel that nobody else uses."""
    return lambda namespace="": f"{namespace}:{uuid.uuid4().hex}".removeprefix(":")
