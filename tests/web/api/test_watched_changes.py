"""What the API changes reaches those who watch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from realtime.delivery.frames import Event
from realtime.delivery.watching import Delivery, Want
from realtime.feeds.catalog import find_feed
from realtime.feeds.runtime import Feeds

from .conftest import Api


class Eye:
    """Keeps what it is told, ready to be awaited."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def deliver(self, *events: Event) -> None:
        for event in events:
            self.told.put_nowait(json.loads(event.plain))

    start = deliver

    async def drain(self) -> None:
        return

    async def until(self, **wanted: Any) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                told = await self.told.get()
                if wanted.items() <= told.items():
                    return told


@pytest.fixture
async def delivery(feeds: Feeds) -> AsyncIterator[Delivery]:
    """Compares positions so seldom that only announcements can bring what a test waits for."""
    current = Delivery(feeds, position_check_s=3600)
    yield current
    await current.aclose()


async def test_watchers_hear_of_a_publication_and_of_a_paused_source(
    api: Api, feeds: Feeds, delivery: Delivery
) -> None:
    await api.post("/api/feeds", {"slug": "lab"})
    source = {"slug": "price", "url": "https://upstream.example/", "feeds": [{"slug": "price"}]}
    await api.post("/api/sources", source)
    eye = Eye()
    refs = [await feeds.database.read(find_feed, slug) for slug in ("lab", "price")]
    watch = await delivery.watch([Want(ref.id, ref.slug) for ref in refs], eye)
    await api.post("/api/feeds/lab/publish", {"data": 7})
    assert (await eye.until(type="update", feed="lab"))["data"] == 7
    await api.patch("/api/sources/price", {"enabled": False})
    await eye.until(type="status", feed="price", state="paused", next_poll_at=None)
    await api.patch("/api/sources/price", {"enabled": True})
    await eye.until(type="status", feed="price", state="stale")
    watch.leave()
