"""From one engine to another: when it ends, and when it could not renew its claims in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from realtime.feeds import database as database_module
from realtime.feeds import store
from realtime.feeds.models import Demand, Feed
from realtime.feeds.runtime import Feeds
from realtime.queries import evaluator as module
from realtime.queries.evaluator import Evaluator
from realtime.queries.line import Line
from tests.held_unit import HeldUnit
from tests.queries.evaluating import (
    customer,
    evaluating,
    is_kept,
    newest,
    order,
    row_of,
    until,
    values,
    want,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)


async def test_when_an_engine_ends_another_takes_over_at_once(feeds: Feeds) -> None:
    ana = await write(feeds, customer)
    feed_id = await write(feeds, want, f"query:open-orders?customer={ana}")
    async with evaluating(feeds, "one"):
        await is_kept(feeds, feed_id)
        assert (await feeds.database.read(row_of, feed_id))[1].engine == "one"
    await write(feeds, order, ana)
    async with evaluating(feeds, "two"):
        await until(feeds, lambda: len(newest(feed_id)) == 1, "published")
        assert (await feeds.database.read(row_of, feed_id))[1].engine == "two"


async def test_what_an_engine_claims_while_it_ends_is_let_go(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "FINISH_S", 60)
    held = HeldUnit(module.hold)
    monkeypatch.setattr(module, "hold", held)
    feed_id = await write(feeds, want, "query:recent-orders")
    async with evaluating(feeds):
        await held.begun()
        asyncio.get_running_loop().call_later(0.2, held.let_go)  # not before what it holds is let go
    assert (await feeds.database.read(row_of, feed_id))[1].engine == ""


async def test_what_was_let_go_for_an_engine_that_lives_is_claimed_and_filled_again(feeds: Feeds) -> None:
    feed_id = await write(feeds, want, "query:recent-orders")
    async with evaluating(feeds):
        await is_kept(feeds, feed_id)
        await write(feeds, module.release, "one")
        await is_kept(feeds, feed_id)
        assert (await feeds.database.read(row_of, feed_id))[1].engine == "one"


async def test_an_evaluation_that_is_due_while_the_engine_ends_is_not_begun(feeds: Feeds) -> None:
    evaluator = Evaluator(feeds, name="one")
    async with asyncio.TaskGroup() as evaluator._tasks:
        pass
    line = Line("query:recent-orders", first_s=0.02, sustained_s=0.25)
    evaluator._start(line)
    assert not line.pace.running
    assert not evaluator._under_way
    await evaluator.aclose()


async def test_a_result_that_came_after_the_claim_was_over_is_not_told_and_forgets_no_change(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.CLAIM_S
    monkeypatch.setattr(module, "CLAIM_S", -1.0)
    ended: list[object] = []
    monkeypatch.setattr(Line, "ended", spied(Line.ended, ended))
    feed_id = await write(feeds, want, "query:recent-orders")
    async with evaluating(feeds):
        await until(feeds, lambda: bool(ended), "an evaluation ended")
        assert ended[0] is None
        assert await feeds.database.read(values, feed_id) == []
        monkeypatch.setattr(module, "CLAIM_S", real)
        await is_kept(feeds, feed_id)
    assert ended[-1] is not None


async def test_an_engine_that_lost_its_claims_while_it_could_not_renew_them_evaluates_no_more(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.05)
    feed_id = await write(feeds, want, "query:recent-orders")

    def taken_over() -> None:
        an_hour = timezone.now() + timedelta(hours=1)
        Demand.objects.filter(pk=feed_id).update(engine="other", claimed_until=an_hour)

    async with evaluating(feeds) as engine:
        await is_kept(feeds, feed_id)
        await write(feeds, taken_over)
        engine._held_until = 0.0
        await until(feeds, lambda: not engine._lines, "it knows")
    assert (await feeds.database.read(row_of, feed_id))[1].engine == "other"


async def test_a_result_that_waits_to_be_saved_while_the_engine_ends_is_not_published(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await write(feeds, lambda: Feed.objects.create(slug="other", title="other").pk)
    feed_id = await write(feeds, want, "query:recent-orders")
    async with evaluating(feeds) as engine:
        await is_kept(feeds, feed_id)
        held = HeldUnit(store.commit)
        with monkeypatch.context() as patch:
            patch.setattr(store, "commit", held)
            publishing = asyncio.create_task(feeds.store.publish(other, 1))
            await held.begun()
        ana = await asyncio.to_thread(elsewhere, customer)  # on SQLite what is held has the only writer
        await asyncio.to_thread(elsewhere, order, ana)
        await wait_for(lambda: bool(feeds.store._waiting))
        letting_go = asyncio.create_task(let_go_after(held, lambda: not engine._lines))
    await letting_go
    await publishing
    await feeds.store.publish(other, 2)
    assert await feeds.database.read(values, feed_id) == [[]]


async def test_an_engine_whose_result_is_being_saved_keeps_its_claims_when_that_takes_too_long(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RELEASE_TIMEOUT_S", 0.1)
    feed_id = await write(feeds, want, "query:recent-orders")
    held = HeldUnit(store.commit)
    monkeypatch.setattr(store, "commit", held)
    async with evaluating(feeds):
        await held.begun()
    held.let_go()
    assert (await feeds.database.read(row_of, feed_id))[1].engine == "one"
    assert "queries_not_released" in caplog.text


def elsewhere(unit: Callable[..., int], *args: object) -> int:
    try:
        return unit(*args)
    finally:
        connection.close()


async def wait_for(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not reached():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)


async def let_go_after(held: HeldUnit, reached: Callable[[], bool]) -> None:
    await wait_for(reached)
    held.let_go()


def spied(method: Callable[..., None], seen: list[object]) -> Callable[..., None]:
    """The method, and what it was called with."""

    def calls(line: Line, read: object, now: float) -> None:
        seen.append(read)
        method(line, read, now)

    return calls
