"""Probes: alive as long as the loop answers, ready when everything that is needed answers as well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from channels.layers import channel_layers
from django.test import RequestFactory
from django.utils import timezone

from realtime.errors import Unavailable
from realtime.feeds.database import Database
from realtime.feeds.runtime import Feeds
from realtime.sources.models import EngineSeen
from realtime.web import health


@pytest.fixture
async def feeds(transactional_db: None) -> AsyncIterator[Feeds]:
    current = Feeds.current()
    yield current
    await current.aclose()


async def ready() -> tuple[int, dict[str, Any]]:
    response = await health.readyz(RequestFactory().get("/readyz"))
    return response.status_code, json.loads(response.content)


def seen(seconds_ago: float) -> None:
    EngineSeen.objects.create(name="one", seen_at=timezone.now() - timedelta(seconds=seconds_ago))


async def test_a_process_whose_loop_answers_is_healthy() -> None:
    response = await health.healthz(RequestFactory().get("/healthz"))
    assert (response.status_code, json.loads(response.content)) == (200, {"ok": True})
    assert response["Cache-Control"] == "no-store"


async def test_everything_there_is_ready(feeds: Feeds) -> None:
    await feeds.database.write(seen, 1)
    status, said = await ready()
    fine = {"ok": True, "problem": ""}
    checks = dict.fromkeys(("server", "database", "layer", "engine"), fine)
    assert (status, said) == (200, {"ok": True, "checks": checks})


@pytest.mark.parametrize("seconds_ago", [None, 31])
async def test_without_an_engine_it_is_not_ready(feeds: Feeds, seconds_ago: float | None) -> None:
    if seconds_ago is not None:
        await feeds.database.write(seen, seconds_ago)
    status, said = await ready()
    assert (status, said["ok"], said["checks"]["engine"]["ok"]) == (503, False, False)
    assert said["checks"]["database"]["ok"]
    assert "engine" in said["checks"]["engine"]["problem"]


async def test_without_a_database_it_is_not_ready(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(self: Database, unit: object, *args: object) -> None:
        raise Unavailable("The database does not answer.")

    monkeypatch.setattr(Database, "read", refuse)
    status, said = await ready()
    assert status == 503
    assert {name: check["ok"] for name, check in said["checks"].items()} == {
        "server": True,
        "database": False,
        "layer": True,
        "engine": False,
    }


async def test_a_layer_that_hangs_is_given_up_in_time(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging:
        async def group_send(self, group: str, message: dict[str, Any]) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(health, "CHECK_TIMEOUT_S", 1.0)
    await feeds.database.write(seen, 1)
    restore = channel_layers.set("default", Hanging())
    try:
        status, said = await ready()
    finally:
        channel_layers.set("default", restore)
    assert (status, said["checks"]["layer"]["ok"], said["checks"]["engine"]["ok"]) == (503, False, True)


async def test_a_layer_that_is_away_is_told_without_its_details(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        async def group_send(self, group: str, message: dict[str, Any]) -> None:
            raise ConnectionRefusedError("redis://user:password@host")

    restore = channel_layers.set("default", Away())
    try:
        _, said = await ready()
    finally:
        channel_layers.set("default", restore)
    assert said["checks"]["layer"] == {"ok": False, "problem": "Does not answer (ConnectionRefusedError)."}
