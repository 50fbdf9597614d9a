"""What a poll may say of the values it saved: their ETag, and that they are the newest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from realtime.errors import Unavailable
from realtime.feeds.runtime import Feeds
from realtime.feeds.store import Health, Write, commit
from realtime.sources import poller as poller_module
from realtime.sources.catalog import poll_now
from realtime.sources.fetch import Fetcher
from realtime.sources.poller import Poller
from realtime.sources.schedule import Claim, claim_due
from tests.sources.polling import LOOPBACK, feed, open_feeds, polling, source, until, values
from tests.sources.rows import make_source
from tests.upstream import Upstream
from tests.upstream_replies import says

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def feeds() -> AsyncIterator[Feeds]:
    async with open_feeds() as running:
        yield running


async def make_v0(feeds: Feeds, upstream: Upstream) -> None:
    """A source that is due, with the value 0 and an ETag."""
    url = upstream.on("/quote", says({"value": 0}, etag='"v0"'))
    await feeds.database.write(lambda: make_source(url=url, interval_s=3600, next_poll_at=timezone.now()))


async def test_the_etag_of_an_older_value_does_not_outlive_the_poll_that_saved_a_newer_one(
    feeds: Feeds, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_v0(feeds, upstream)
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
    await make_v0(feeds, upstream)
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


async def test_a_poll_whose_claim_runs_out_does_not_save_over_its_successor(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()

    def claimed() -> Claim:
        make_source(next_poll_at=now, interval_s=1)
        return claim_due(now, engine="one", limit=1)[0]

    claim = await feeds.database.write(claimed)

    def write_of(data: str) -> Write:
        return Write(claim.targets[0].feed_id, data, Health("fresh", now, now))

    def succeed() -> None:
        (next_claim,) = claim_due(claim.until + timedelta(seconds=0.1), engine="two", limit=1)
        assert next_claim.source_id == claim.source_id
        commit([write_of("2")])

    clock = SimpleNamespace(now=lambda: now)
    save, tries = feeds.store.write, 0

    async def away_until_the_claim_runs_out(write: Write) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            clock.now = lambda: claim.until - timedelta(seconds=0.1)
            raise Unavailable("away")
        await feeds.database.write(succeed)  # while this poll was waiting for its next try
        return await save(write)

    monkeypatch.setattr(feeds.store, "write", away_until_the_claim_runs_out)
    monkeypatch.setattr(poller_module, "timezone", clock)
    monkeypatch.setattr(poller_module, "SAVE_AGAIN_S", 0)
    fetcher = Fetcher(LOOPBACK, limit_bytes=1000)
    saved = await Poller(feeds, fetcher, name="one")._save(claim, [write_of("1")])
    await fetcher.aclose()
    assert not saved
    await feeds.database.write(succeed)
    assert await feeds.database.read(values()) == ["2"]
