"""The server API as back ends use it: two real processes on one database and one Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import cent
import pytest

from tests.delivery.centrifuge.sdk import SETTINGS, Client
from tests.services import Redis
from tests.serving import Server, Template, environment


@pytest.fixture(scope="package")
def servers(serving_template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two processes on one database and one Redis, with an app that has methods."""
    redis = Redis()
    folder = tmp_path_factory.mktemp("pair")
    database = serving_template.copy(folder / "one")
    (folder / "two").mkdir()
    settings = SETTINGS | {
        "REDIS_URL": redis.url,
        "DJANGO_SETTINGS_MODULE": "tests.delivery.centrifuge.app_settings",
    }
    env = environment(folder / "one", **database, **settings)
    made = [Server(folder / name, env, token=serving_template.token) for name in ("one", "two")]
    made[1].args = ("--no-engine",)
    try:
        redis.start()
        for server in made:
            server.launch()
        for server in made:
            server.wait()
        yield made
    finally:
        for server in made:
            server.kill()
        redis.close()
    for server in made:
        server.check()


class People:
    """Back ends and users. All of them go when the test ends."""

    def __init__(self, servers: list[Server], leaving: AsyncExitStack) -> None:
        self._servers, self._leaving = servers, leaving
        self.users = 0

    async def back_end(self, at: int, key: str | None = None) -> cent.AsyncClient:
        server = self._servers[at]
        client = cent.AsyncClient(f"{server.url}/api", api_key=server.token if key is None else key)
        self._leaving.push_async_callback(client.close)
        return client

    async def user(self, at: int, name: str, **claims: Any) -> Client:
        client = Client(self._servers[at], name, **claims)
        self._leaving.push_async_callback(client.sdk.disconnect)
        return await client.connect()


@pytest.fixture
async def people(servers: list[Server]) -> AsyncIterator[People]:
    async with AsyncExitStack() as leaving:
        yield People(servers, leaving)
    # The SDK closes its sockets in tasks of its own.
    closing = asyncio.all_tasks() - {asyncio.current_task()}
    if closing:
        await asyncio.wait(closing, timeout=30)
