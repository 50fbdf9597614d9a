"""Whose keys get in, and the methods of installed apps."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import cent
import pytest

from tests.serving import Server

from .asking import channel_publish, raw, refused
from .conftest import People

# One process for both: starting one costs more than what it does.
SCOPES = ("publish", "manage")
TOKENS = f"""
from realtime.feeds.access import create_token
print(*(create_token(scope, [scope])[1] for scope in {SCOPES}))
"""


async def test_methods_of_installed_apps_are_called_by_clients_and_back_ends(
    people: People, servers: list[Server]
) -> None:
    ana = await people.user(0, "ana")
    answer = (await ana.sdk.rpc("echo", {"n": 1})).data
    assert answer == {"user": "ana", "client": ana.id, "data": {"n": 1}}
    assert (await ana.sdk.rpc("name-of", 1)).data == "ana"
    codes = []
    for name, data in (("nothing", 1), ("name-of", 77), ("fail", "by number"), ("fail", "a secret")):
        try:
            await ana.sdk.rpc(name, data)
        except Exception as error:
            codes.append(getattr(error, "code", None))
    assert codes == [108, 102, 1001, 100]
    assert "a secret" not in servers[0].output

    def call(**body: Any) -> Any:
        return raw(servers[0], "/api/rpc", json.dumps(body).encode(), X_API_Key=servers[0].token)[1]

    assert call(method="echo", params=5) == {"result": {"data": {"user": "", "client": "", "data": 5}}}
    assert call(method="nothing")["error"]["code"] == 104
    assert call(method="fail", params="by number")["error"]["code"] == 1001


async def test_only_known_keys_get_in_and_only_for_what_they_are(
    people: People, servers: list[Server]
) -> None:
    server = servers[0]
    for headers in ({}, {"X_API_Key": "hw_" + "x" * 43}, {"Authorization": f"Bearer {server.token}"}):
        status, answer = raw(server, "/api/info", b"{}", **headers)
        assert (status, answer["error"]["code"]) == (401, "not_signed_in")
    assert raw(server, "/api/info", b"{}", Authorization=f"apikey {server.token}")[0] == 200
    assert raw(server, f"/api/info?api_key={server.token}", b"{}")[0] == 200
    with pytest.raises(cent.CentUnauthorizedError):
        await (await people.back_end(0, key="wrong")).info(cent.InfoRequest())

    tokens = await asyncio.to_thread(server.manage, "shell", "-v", "0", "-c", TOKENS)
    publisher, manager = [await people.back_end(0, token) for token in tokens.split()]
    assert (await publisher.publish(channel_publish("keys", 1))).offset == 1
    assert (await refused(publisher.info(cent.InfoRequest())))[0] == 103
    assert (await refused(manager.publish(channel_publish("keys", 1))))[0] == 103
    assert (await manager.info(cent.InfoRequest())).nodes
    assert raw(server, "/api/nothing", b"{}", X_API_Key=server.token)[0] == 404
    assert raw(server, "/api/publish", method="GET")[0] == 405
