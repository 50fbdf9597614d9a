from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from realtime.feeds.models import Feed
from realtime.feeds.store import Health, Write, commit
from realtime.sources.catalog import poll_now
from realtime.sources.freshness import NO_POLL, keep_states, tell_states
from realtime.sources.models import Source
from tests.held_unit import HeldUnit
from tests.lock_waits import someone_waits
from tests.sources.polling import feed, open_feeds, until
from tests.sources.rows import make_source

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def make(state: str, *, due: datetime | None = NOON, error: str = "", **fields: Any) -> Feed:
    """A feed in that state that was good 10 s before noon and whose next poll is due at `due`."""
    make_source(next_poll_at=due, **fields)
    Feed.objects.update(state=state, next_poll_at=due, last_ok_at=at(-10), error=error)
    return Feed.objects.get()


def told(now: datetime) -> Feed:
    tell_states(now)
    return Feed.objects.get()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("interval_s", "timeout_s", "patience_s"), [(1, 5, 15), (10, 5, 20), (60, 5, 120), (1, 60, 65)]
)
def test_a_feed_without_a_poll_in_time_is_stale(
    interval_s: float, timeout_s: float, patience_s: float
) -> None:
    make("fresh", interval_s=interval_s, timeout_s=timeout_s)
    assert told(at(patience_s - 0.1)).state == "fresh"
    stale = told(at(patience_s + 0.1))
    assert (stale.state, stale.error) == ("stale", NO_POLL)
    assert (stale.last_ok_at, stale.next_poll_at) == (at(-10), NOON)


@pytest.mark.django_db
def test_a_failing_feed_that_is_not_polled_again_is_stale_and_keeps_its_last_error() -> None:
    make("failing", error="Answered 503 Service Unavailable.")
    stale = told(at(60))
    assert (stale.state, stale.error) == ("stale", "Answered 503 Service Unavailable.")


@pytest.mark.django_db
def test_a_feed_that_was_never_polled_is_stale() -> None:
    make_source(next_poll_at=NOON)
    Feed.objects.update(state="fresh")
    stale = told(NOON)
    assert (stale.state, stale.next_poll_at) == ("stale", NOON)


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["fresh", "failing", "stale"])
def test_the_feeds_of_a_disabled_source_are_paused(state: str) -> None:
    make(state, error="before", enabled=False)
    paused = told(at(-5))
    assert (paused.state, paused.error) == ("paused", "")
    assert (paused.next_poll_at, paused.last_ok_at) == (None, at(-10))


@pytest.mark.django_db
def test_a_feed_whose_source_is_enabled_again_is_stale_until_it_is_polled() -> None:
    make("paused")
    assert told(at(-5)).state == "stale"


@pytest.mark.django_db
def test_a_change_of_state_is_told_once() -> None:
    before = make("fresh").status_rev
    assert [tell_states(at(60)), tell_states(at(61))] == [1, 0]
    assert Feed.objects.get().status_rev == before + 1


@pytest.mark.django_db
def test_push_feeds_are_never_stale() -> None:
    Feed.objects.create(slug="push", title="push", state="fresh", next_poll_at=NOON)
    assert tell_states(at(10_000)) == 0


@pytest.mark.django_db
def test_a_look_that_finds_nothing_locks_nothing() -> None:
    make("fresh")
    with CaptureQueriesContext(connection) as queries:
        assert tell_states(at(1)) == 0
    assert "FOR UPDATE" not in str(queries.captured_queries)


@pytest.mark.django_db(transaction=True)
@pytest.mark.only("postgresql")
async def test_a_poll_that_ends_during_the_look_is_not_overwritten() -> None:
    held = HeldUnit()

    def poll(feed_id: int) -> None:
        with transaction.atomic():
            commit([Write(feed_id, "1", Health("fresh", at(60), at(70)))])
            held()

    async with open_feeds() as feeds:
        overdue = await feeds.database.write(lambda: make("fresh"))
        polling = asyncio.create_task(feeds.database.write(poll, overdue.pk))
        await held.begun()
        looking = asyncio.create_task(feeds.database.write(tell_states, at(60)))
        await until(feeds.database, someone_waits)
        held.let_go()
        await polling
        assert await looking == 0
        row = await feeds.database.read(feed())
    assert (row.state, row.last_ok_at, row.error) == ("fresh", at(60), "")


@pytest.mark.django_db(transaction=True)
async def test_a_process_without_an_engine_tells_that_nothing_is_polled() -> None:
    async with open_feeds() as feeds:
        due = timezone.now() - timedelta(seconds=30)
        await feeds.database.write(lambda: make("fresh", due=due))
        keeper = asyncio.create_task(keep_states(feeds, every_s=0.05))
        await until(feeds.database, feed(), lambda row: row.state == "stale")
        await feeds.database.write(lambda: Source.objects.update(enabled=False))
        await until(feeds.database, feed(), lambda row: row.state == "paused")
        await feeds.database.write(lambda: Source.objects.update(enabled=True))
        await feeds.database.write(poll_now, "quotes")
        await until(feeds.database, feed(), lambda row: row.state == "stale")
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
