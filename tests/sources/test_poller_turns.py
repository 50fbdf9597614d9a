"""When the poller polls: at once, in time, never twice, never piled up, and what it leaves behind."""

from __future__ import annotations

import asyncio
import logging
from asyncio import StreamWriter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone

from realtime.errors import Unavailable
from realtime.feeds.database import Database
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds
from realtime.sources.catalog import poll_now
from realtime.sources.models import Source
from tests.sources.polling import feed, open_feeds, polling, source, until, values
from tests.sources.rows import make_source
from tests.upstream import Upstream
from tests.upstream_replies import Heard, after, never, says

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
async def feeds() -> AsyncIterator[Feeds]:
    async with open_feeds() as running:
        yield running


async def make(feeds: Feeds, slug: str = "quotes", *, due_in_s: float = 0, **fields: Any) -> datetime:
    """Commit a source as another process would; when it is due."""
    due = timezone.now() + timedelta(seconds=due_in_s)
    await feeds.database.write(lambda: make_source(slug, next_poll_at=due, **fields))
    return due


async def test_a_new_source_is_polled_at_once(feeds: Feeds, upstream: Upstream) -> None:
    url = upstream.on("/quote", says({"value": 1}))
    async with polling(feeds):
        await make(feeds, url=url, interval_s=3600)
        await until(feeds.database, feed(), lambda row: row.state == "fresh")


async def test_a_poll_starts_at_its_time_and_not_before(feeds: Feeds, upstream: Upstream) -> None:
    url = upstream.on("/quote", says({"value": 1}))
    async with polling(feeds):
        due = await make(feeds, url=url, due_in_s=1.5, interval_s=60)
        row = await until(feeds.database, source(), lambda row: row.last_polled_at is not None)
    assert row.last_polled_at > due
    assert row.next_poll_at == due + timedelta(seconds=60)


async def test_poll_now_is_heard_long_before_the_interval_is_over(feeds: Feeds, upstream: Upstream) -> None:
    await make(feeds, url=upstream.on("/quote", says({"value": 1})), interval_s=3600)
    async with polling(feeds) as poller:
        before = await until(feeds.database, source(), lambda row: row.last_polled_at and not row.claimed_by)
        await feeds.database.write(poll_now, "quotes")
        poller.poke()
        await until(feeds.database, source(), lambda row: row.last_polled_at > before.last_polled_at)
    assert upstream.requests["/quote"] == 2


async def test_a_poll_that_overruns_its_interval_never_piles_up(feeds: Feeds, upstream: Upstream) -> None:
    under_way = most = 0

    async def slow(heard: Heard, writer: StreamWriter) -> bool:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await after(0.5, says({"value": heard.step}))(heard, writer)
        finally:
            under_way -= 1

    due = await make(feeds, url=upstream.on("/quote", slow), interval_s=0.2, timeout_s=60)
    async with polling(feeds):
        journal = await until(feeds.database, values(), lambda seen: len(seen) >= 3, timeout_s=120)
        row = await feeds.database.read(source())
    assert most == 1
    assert journal == [str(step) for step in range(len(journal))]
    steps = (row.next_poll_at - due) / timedelta(seconds=0.2)
    assert abs(steps - round(steps)) < 0.001  # still on its grid


async def test_a_slow_host_delays_only_itself(feeds: Feeds, upstream: Upstream) -> None:
    upstream.on("/never", never)
    upstream.on("/quote", says({"value": 1}))
    for number in range(12):
        await make(feeds, f"slow{number}", url=upstream.url("/never"), timeout_s=60, due_in_s=-5)
    async with polling(feeds, concurrency=4, per_host=3):
        await asyncio.to_thread(upstream.wait_for, "/never", 3)
        await make(feeds, url=f"http://localhost:{upstream.port}/quote")
        await until(feeds.database, feed(), lambda row: row.state == "fresh")
        assert upstream.requests["/never"] == 3


async def test_two_engines_poll_each_source_once_per_interval(feeds: Feeds, upstream: Upstream) -> None:
    due = timezone.now()
    slugs = [f"s{number}" for number in range(15)]

    def prepare() -> None:
        for slug in slugs:
            url = upstream.url(f"/counter/{slug}")
            make_source(slug, next_poll_at=due, interval_s=0.5, timeout_s=60, url=url)

    def stop() -> None:
        Source.objects.update(enabled=False)

    def is_idle() -> bool:
        return not Source.objects.exclude(claimed_by="").exists()

    await feeds.database.write(prepare)
    async with open_feeds() as others, polling(feeds, name="one"), polling(others, name="two"):
        for slug in slugs:
            await asyncio.to_thread(upstream.wait_for, f"/counter/{slug}", 4, 120)
        await feeds.database.write(stop)
        await until(feeds.database, is_idle, timeout_s=120)
        rows = await feeds.database.read(lambda: dict(Source.objects.values_list("slug", "next_poll_at")))
    for slug in slugs:
        slots = round((rows[slug] - due) / timedelta(seconds=0.5))
        # Fewer where this machine was busy: a poll that is half an interval late takes the next one's place.
        assert 4 <= upstream.requests[f"/counter/{slug}"] <= slots
        journal = await feeds.database.read(values(f"{slug}-0"))
        assert journal == [str(number + 1) for number in range(len(journal))]


async def test_a_shutdown_ends_polls_under_way_and_gives_their_claims_back(
    feeds: Feeds, upstream: Upstream
) -> None:
    due = await make(feeds, url=upstream.on("/quote", never), interval_s=60)
    await make(feeds, "waiting", url=upstream.on("/quote", never), interval_s=60, due_in_s=0.7)
    async with polling(feeds):
        await asyncio.to_thread(upstream.wait_for, "/quote", 1)
    row = await feeds.database.read(source())
    assert (row.claimed_by, row.claimed_until, row.next_poll_at, row.failures) == ("", None, due, 0)
    assert (await feeds.database.read(source("waiting"))).claimed_by == ""
    upstream.on("/quote", says({"value": 1}))
    async with polling(feeds, name="restarted"):
        await until(feeds.database, feed(), lambda row: row.state == "fresh")


async def test_an_engine_that_was_killed_delays_a_source_by_no_more_than_its_claim(
    feeds: Feeds, upstream: Upstream
) -> None:
    url = upstream.on("/quote", says({"value": 1}))
    due = await make(feeds, url=url, interval_s=1)
    expires = due + timedelta(seconds=1)
    await feeds.database.write(
        lambda: Source.objects.update(claimed_by="killed", claimed_until=expires, next_poll_at=due)
    )
    async with polling(feeds):
        row = await until(feeds.database, source(), lambda row: row.last_polled_at is not None)
    assert row.last_polled_at > expires


class Bytes(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"value": 1}'


async def test_a_mistake_of_ours_fails_one_source_and_the_engine_goes_on(
    feeds: Feeds, caplog: pytest.LogCaptureFixture
) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/broken":
            raise RuntimeError("a bug")
        return httpx.Response(200, stream=Bytes())

    await make(feeds, "broken", url="http://upstream.test/broken")
    await make(feeds, url="http://upstream.test/quote")
    async with polling(feeds, transport=httpx.MockTransport(respond)):
        await until(feeds.database, feed(), lambda row: row.state == "fresh")
        row = await until(feeds.database, feed("broken-0"), lambda row: row.state == "failing")
    assert "a bug" not in row.error
    assert any("poll_broke source=broken" in record.message for record in caplog.records)


async def test_a_source_deleted_during_its_poll_is_no_error(
    feeds: Feeds, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    await make(feeds, url=upstream.on("/quote", after(0.3, says({"value": 1}))))
    await make(feeds, "other", url=upstream.on("/other", says({"value": 1})), due_in_s=0.5)
    async with polling(feeds):
        await asyncio.to_thread(upstream.wait_for, "/quote", 1)
        await feeds.database.write(
            lambda: (
                Source.objects.filter(slug="quotes").delete(),
                Feed.objects.filter(slug="quotes-0").delete(),
            )
        )
        await until(feeds.database, feed("other-0"), lambda row: row.state == "fresh")
        await until(feeds.database, source("other"), lambda row: not row.claimed_by)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


class AwayDatabase(Database):
    """A database that does not answer until it is told to."""

    away = True
    asked = 0

    async def _run(self, *args: Any) -> Any:
        if self.away:
            self.asked += 1
            raise Unavailable("The database does not answer.")
        return await super()._run(*args)


async def wait_for(reached: Callable[[], bool], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not reached():  # noqa: ASYNC110 - a plain counter
            await asyncio.sleep(0.01)


async def test_a_database_that_is_away_ends_nothing_and_no_outcome_is_lost(
    feeds: Feeds, upstream: Upstream
) -> None:
    await make(feeds, url=upstream.on("/quote", after(0.3, says({"value": 1}))), interval_s=60)
    database = AwayDatabase(threads=2)
    good, feeds.database = feeds.database, database
    feeds.store._database = database
    try:
        async with polling(feeds):
            await wait_for(lambda: database.asked >= 2)
            database.away = False
            await asyncio.to_thread(upstream.wait_for, "/quote", 1)
            database.away, before = True, database.asked
            await wait_for(lambda: database.asked > before + 2)
            database.away = False
            row = await until(good, source(), lambda row: not row.claimed_by)
            assert row.last_polled_at is not None
    finally:
        await database.aclose()
        feeds.database = feeds.store._database = good
