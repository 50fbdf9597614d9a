"""What becomes of an evaluation: publications, how well the feeds are, and notes that are never lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from realtime.conf import conf
from realtime.errors import QueryFailed, Unavailable
from realtime.feeds.journal import history
from realtime.feeds.models import Demand, Feed
from realtime.feeds.runtime import Feeds
from realtime.queries import publishing
from realtime.queries.changes import Read
from realtime.queries.claims import Held
from realtime.queries.evaluation import Evaluation
from realtime.queries.line import Line
from realtime.queries.publishing import Publisher
from realtime.queries.result import Outcome
from tests.held_unit import HeldUnit

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = timezone.now() - timedelta(hours=1)
BASE = "query:a"
BLOCK = "t.html:1:00000000"


def made(slug: str) -> int:
    """A feed that this test's engine fills, with a value that was true an hour ago."""
    feed = Feed.objects.create(slug=slug, title=slug, kind=Feed.Kind.QUERY, last_ok_at=BEFORE)
    until = timezone.now() + timedelta(hours=1)
    Demand.objects.create(feed=feed, base=BASE, wanted_until=until, engine="one", claimed_until=until)
    return int(feed.pk)


def line_of(**blocks: int) -> Line:
    """The query with the feeds of these ids; the one named `value` shows the value itself."""
    line = Line(BASE, first_s=0.02, sustained_s=0.25)
    feeds = {feed_id: "" if name == "value" else BLOCK for name, feed_id in blocks.items()}
    line.hold(feeds, dict.fromkeys(feeds, BEFORE), set(feeds))
    return line


def found(text: str, block: Any = None) -> Evaluation:
    painted = {BLOCK: block} if block is not None else {}
    return Evaluation(Outcome(value=None, text=text, key=(), read=Read((), {})), painted)


def row_of(feed_id: int) -> tuple[Feed, Demand]:
    return Feed.objects.get(pk=feed_id), Demand.objects.get(pk=feed_id)


def failed(message: str = "no") -> QueryFailed:
    return QueryFailed(message, reason="why")


@pytest.fixture
def publisher(feeds: Feeds) -> Publisher:
    return Publisher(feeds, name="one")


async def test_a_query_that_fails_or_is_paused_says_when_its_value_was_last_true(
    feeds: Feeds, publisher: Publisher
) -> None:
    feed_id = await feeds.database.write(made, BASE)
    line = line_of(value=feed_id)
    await publisher.fail(line, failed(), took_s=0.1)
    feed, _ = await feeds.database.read(row_of, feed_id)
    assert (feed.state, feed.last_ok_at) == ("failing", BEFORE)

    await publisher.publish(line, found("1"), took_s=0.1)
    fresh_at = (await feeds.database.read(row_of, feed_id))[0].last_ok_at
    assert fresh_at is not None
    assert fresh_at > BEFORE
    await publisher.fail(line, failed(), took_s=0.1)
    feed, _ = await feeds.database.read(row_of, feed_id)
    assert (feed.state, feed.last_ok_at) == ("failing", fresh_at)

    await publisher.pause([Held(feed_id, BASE, BASE, fresh_at)])
    feed, _ = await feeds.database.read(row_of, feed_id)
    assert (feed.state, feed.last_ok_at) == ("paused", fresh_at)


async def test_a_block_that_fails_keeps_the_time_of_its_own_last_value(
    feeds: Feeds, publisher: Publisher
) -> None:
    value = await feeds.database.write(made, BASE)
    block = await feeds.database.write(made, f"{BASE}#{BLOCK}")
    line = line_of(value=value, block=block)
    await publisher.publish(line, found("1", failed()), took_s=0.1)
    await publisher.publish(line, found("2", failed()), took_s=0.1)
    feed, demand = await feeds.database.read(row_of, block)
    assert (feed.state, feed.last_ok_at) == ("failing", BEFORE)
    assert (await feeds.database.read(row_of, value))[0].state == "fresh"
    await publisher.save_notes()
    _, demand = await feeds.database.read(row_of, block)
    assert (demand.kept, demand.evaluations, demand.reason) == (True, 2, "why")


async def test_an_evaluation_is_counted_when_its_result_is_there_and_kept_only_then(
    feeds: Feeds, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed_id = await feeds.database.write(made, BASE)
    line = line_of(value=feed_id)
    real = feeds.store.write
    seen: list[tuple[int, bool]] = []

    async def watched(write: Any) -> Any:
        await publisher.save_notes()
        _, demand = await feeds.database.read(row_of, feed_id)
        seen.append((demand.evaluations, demand.kept))
        return await real(write)

    monkeypatch.setattr(feeds.store, "write", watched)
    await publisher.publish(line, found("1"), took_s=0.1)
    await publisher.save_notes()
    _, demand = await feeds.database.read(row_of, feed_id)
    assert seen == [(1, False)]
    assert (demand.evaluations, demand.kept) == (1, True)


async def test_a_result_that_could_not_be_committed_is_counted_and_not_kept(
    feeds: Feeds, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed_id = await feeds.database.write(made, BASE)
    line = line_of(value=feed_id)

    async def away(write: Any) -> Any:
        raise Unavailable("away")

    monkeypatch.setattr(feeds.store, "write", away)
    with pytest.raises(Unavailable):
        await publisher.publish(line, found("1"), took_s=0.1)
    assert line.last_ok_at == {feed_id: BEFORE}
    await publisher.fail(line, failed(), took_s=0.1)
    await publisher.save_notes()
    _, demand = await feeds.database.read(row_of, feed_id)
    assert (demand.evaluations, demand.kept) == (2, False)


async def test_notes_that_could_not_be_saved_are_saved_with_those_made_meanwhile(
    feeds: Feeds, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed_id = await feeds.database.write(made, BASE)
    line = line_of(value=feed_id)
    monkeypatch.setattr(publishing, "FIRST_RETRY_S", 0.0)
    await publisher.publish(line, found("1"), took_s=0.1)
    real, began, go_on = feeds.database.write, asyncio.Event(), asyncio.Event()

    async def away(*args: Any) -> Any:
        began.set()
        await go_on.wait()
        raise Unavailable("away")

    monkeypatch.setattr(feeds.database, "write", away)
    saving = asyncio.create_task(publisher.save_notes())
    await began.wait()
    monkeypatch.setattr(feeds.database, "write", real)
    await publisher.publish(line, found("2"), took_s=0.1)
    go_on.set()
    await saving
    await publisher.save_notes()
    _, demand = await feeds.database.read(row_of, feed_id)
    assert (demand.evaluations, demand.kept) == (2, True)


async def test_a_feed_let_go_while_its_result_is_committed_is_filled_anew_when_it_is_back(
    feeds: Feeds, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed_id = await feeds.database.write(made, BASE)
    line = line_of(value=feed_id)
    real = feeds.store.write

    async def let_go(write: Any) -> Any:
        line.hold({}, {}, set())
        return await real(write)

    monkeypatch.setattr(feeds.store, "write", let_go)
    await publisher.publish(line, found("1"), took_s=0.1)
    line.hold({feed_id: ""}, {feed_id: BEFORE}, set())
    assert line.untold
    publications = await feeds.database.read(lambda: history(feed_id, limit=10))
    assert [each.data for each in publications] == ["1"]


async def test_notes_are_saved_by_an_engine_that_ends_while_they_wait_for_the_database(
    feeds: Feeds, publisher: Publisher
) -> None:
    feed_id = await feeds.database.write(made, BASE)
    await publisher.publish(line_of(value=feed_id), found("1"), took_s=0.1)
    held = HeldUnit()
    busy = [asyncio.create_task(feeds.database.write(held)) for _ in range(conf().database_threads)]
    await held.begun()
    saving = asyncio.create_task(publisher.save_notes())
    await asyncio.sleep(0)  # its turn: it waits in line now
    saving.cancel()
    asyncio.get_running_loop().call_soon(held.let_go)  # after the cancellation
    with pytest.raises(asyncio.CancelledError):
        await saving
    await asyncio.gather(*busy)
    _, demand = await feeds.database.read(row_of, feed_id)
    assert (demand.kept, demand.evaluations) == (True, 1)
