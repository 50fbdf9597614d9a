"""What a poll may say of the values it saved: their ETag, and that they are the newest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.utils import timezone

from realtime.feeds.runtime import Feeds
from realtime.feeds.store import Write
from realtime.sources.catalog import poll_now
from tests.sources.polling import feed, open_feeds, polling, source, until, values
from tests.sources.rows import make_source
from tests.upstream import Upstream
from tests.upstream_replies import says

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def feeds() -> AsyncIterator[Feeds]:
    async with open_feeds() as running:
        yield running


async def test_the_etag_of_an_older_value_does_not_outlive_the_poll_that_saved_a_newer_one(
    feeds: Feeds, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = upstream.on("/quote", says({"value": 0}, etag='"v0"'))
    await feeds.database.write(lambda: make_source(url=url, interval_s=3600, next_poll_at=timezone.now()))
    save, saved = feeds.store.write, asyncio.Event()

    async def save_and_stay(write: Write) -> Any:
        written = await save(write)
        if write.data == "1":
            saved.set()
            await asyncio.Event().wait()
        return written

    async with polling(feeds):
        await until(feeds.database, source(), lambda row: row.etag == '"v0"')
        monkeypatch.setattr(feeds.store, "write", save_and_stay)
        upstream.on("/quote", says({"value": 1}, etag='"v1"'))
        await feeds.database.write(poll_now, "quotes")
        async with asyncio.timeout(30):
            await saved.wait()
    before = await feeds.database.read(feed())
    monkeypatch.undo()
    upstream.on("/quote", says({"value": 0}, etag='"v0"'))
    async with polling(feeds, name="restarted"):
        await until(feeds.database, feed(), lambda row: row.last_ok_at > before.last_ok_at)
    assert await feeds.database.read(values()) == ["0", "1", "0"]


async def test_a_mistake_while_values_are_saved_forgets_the_etag(
    feeds: Feeds, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = upstream.on("/quote", says({"value": 0}, etag='"v0"'))
    await feeds.database.write(lambda: make_source(url=url, interval_s=3600, next_poll_at=timezone.now()))
    save = feeds.store.write

    async def save_and_break(write: Write) -> Any:
        written = await save(write)
        if write.data == "1":
            raise RuntimeError("a bug")
        return written

    async with polling(feeds):
        await until(feeds.database, source(), lambda row: row.etag == '"v0"')
        monkeypatch.setattr(feeds.store, "write", save_and_break)
        upstream.on("/quote", says({"value": 1}, etag='"v1"'))
        await feeds.database.write(poll_now, "quotes")
        row = await until(feeds.database, source(), lambda row: row.failures > 0)
    assert row.etag == ""
