from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from realtime import engine as engine_module
from realtime.engine import Engine, _host, _is_dead, engine_name
from realtime.feeds.models import Demand, Feed, JournalEntry
from realtime.feeds.runtime import Feeds
from realtime.sources.models import EngineSeen
from tests.sources.polling import feed, open_feeds, source, until
from tests.sources.rows import make_source
from tests.upstream import Upstream
from tests.upstream_replies import never, says

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    with Upstream() as running:
        opened = engine_module.conf().model_copy(
            update={"allowed_networks": (f"127.0.0.1/32:{running.port}",)}
        )
        monkeypatch.setattr(engine_module, "conf", lambda: opened)
        yield running


@pytest.fixture
async def feeds() -> AsyncIterator[Feeds]:
    async with open_feeds() as running:
        yield running


def names() -> list[str]:
    return list(EngineSeen.objects.values_list("name", flat=True))


async def test_an_engine_polls_shows_that_it_lives_and_signs_off(feeds: Feeds, upstream: Upstream) -> None:
    url = upstream.on("/quote", says({"value": 1}))
    await feeds.database.write(lambda: make_source(url=url, next_poll_at=timezone.now()))
    async with Engine(feeds) as engine:
        await until(feeds.database, feed(), lambda row: row.state == "fresh")
        await until(feeds.database, names, lambda seen: seen == [engine.name])
    assert await feeds.database.read(names) == []
    assert (await feeds.database.read(source())).claimed_by == ""


async def test_an_engine_closes_in_the_middle_of_a_poll(feeds: Feeds, upstream: Upstream) -> None:
    url = upstream.on("/quote", never)
    await feeds.database.write(lambda: make_source(url=url, next_poll_at=timezone.now()))
    async with Engine(feeds):
        await asyncio.to_thread(upstream.wait_for, "/quote", 1)
    assert (await feeds.database.read(source())).claimed_by == ""


async def test_a_sign_of_life_is_repeated_and_those_of_long_gone_engines_are_removed(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "SIGN_OF_LIFE_EVERY_S", 0.05)
    now = timezone.now()

    def others() -> None:
        EngineSeen.objects.create(name="gone", seen_at=now - timedelta(hours=2))
        EngineSeen.objects.create(name="slow", seen_at=now - timedelta(minutes=2))

    await feeds.database.write(others)
    async with Engine(feeds, name="mine"):
        await until(feeds.database, names, lambda seen: seen == ["mine", "slow"])

        def mine() -> EngineSeen:
            return EngineSeen.objects.get(name="mine")

        first = await feeds.database.read(mine)
        again = await until(feeds.database, mine, lambda row: row.seen_at > first.seen_at)
        assert again.started_at == first.started_at


async def test_an_engine_tells_states_and_trims(feeds: Feeds) -> None:
    def prepare() -> None:
        make_source(next_poll_at=None, enabled=False)
        row = feed()()
        row.offset, row.retention_count = 5, 2
        row.save()
        JournalEntry.objects.bulk_create(
            JournalEntry(feed=row, offset=n, published_at=timezone.now(), data=str(n)) for n in range(1, 6)
        )

    await feeds.database.write(prepare)
    async with Engine(feeds):
        await until(feeds.database, feed(), lambda row: row.state == "paused")
        await until(feeds.database, JournalEntry.objects.count, lambda count: count == 2)


def test_names_of_engines_differ_and_fit_their_column() -> None:
    seen = {engine_name() for _ in range(100)}
    assert len(seen) == 100
    assert max(map(len, seen)) <= 64


@pytest.fixture
def killed() -> str:
    """The name of an engine of this host whose process was killed."""
    return f"{_host()}:{process_of('0').pid}:abcdef"


@contextlib.contextmanager
def living() -> Iterator[str]:
    """The name of an engine of this host in another process, which lives."""
    process = process_of("3600", wait=False)
    try:
        yield f"{_host()}:{process.pid}:abcdef"
    finally:
        process.kill()
        process.wait()


def process_of(seconds: str, *, wait: bool = True) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["sleep", seconds])
    if wait:
        process.wait()
    return process


async def test_what_a_killed_engine_of_this_host_held_is_taken_over_at_once(
    feeds: Feeds, killed: str
) -> None:
    def prepare() -> Demand:
        an_hour = timezone.now() + timedelta(hours=1)
        row = Feed.objects.create(slug="query:feeds-by-state", kind=Feed.Kind.QUERY)
        EngineSeen.objects.create(name=killed)
        return Demand.objects.create(
            feed=row, base=row.slug, wanted_until=an_hour, engine=killed, claimed_until=an_hour
        )

    demand = await feeds.database.write(prepare)
    async with Engine(feeds) as engine:
        await until(feeds.database, lambda: Demand.objects.get(pk=demand.pk), lambda row: row.kept)
        assert (await feeds.database.read(lambda: Demand.objects.get(pk=demand.pk))).engine == engine.name
        assert await feeds.database.read(names) == [engine.name]


def test_only_engines_of_this_host_whose_process_is_not_there_are_dead(
    killed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _is_dead(killed)
    assert _is_dead(f"{_host()}:{os.getpid()}:abcdef")  # the process that had this one's number before
    assert not _is_dead(engine_name())
    assert not _is_dead(f"elsewhere:{killed.split(':')[1]}:abcdef")
    assert not _is_dead("mine")
    assert not _is_dead(f"{_host()}:1:abcdef")
    with living() as name:
        assert not _is_dead(name)

    def refused(process: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert not _is_dead(killed)  # it is there, and somebody else's
