"""The evaluator on a real database: what is watched is evaluated, once a burst, and only what is affected."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from docs.examples.orders.models import Order
from realtime.feeds.journal import history
from realtime.feeds.models import Demand
from realtime.feeds.runtime import Feeds
from realtime.queries import result
from realtime.queries.evaluator import Evaluator
from realtime.queries.registry import live_query
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

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("further_queries")]


async def test_what_is_watched_is_evaluated_and_published_with_the_key_of_its_rows(feeds: Feeds) -> None:
    ana = await write(feeds, customer)
    first = await write(feeds, order, ana)
    feed_id = await write(feeds, want, f"query:open-orders?customer={ana}")
    async with evaluating(feeds):
        await is_kept(feeds, feed_id)
    (publication,) = await feeds.database.read(lambda: history(feed_id, limit=10))
    assert [row["id"] for row in json.loads(publication.data)] == [first]
    assert json.loads(publication.tags) == {"key": "id"}
    feed, demand = await feeds.database.read(row_of, feed_id)
    assert (feed.state, feed.error) == ("fresh", "")
    assert (demand.evaluations, demand.unheard, demand.reason) == (1, 0, "")


async def test_a_change_is_published_and_what_it_cannot_affect_is_not_evaluated(feeds: Feeds) -> None:
    ana, ben = await write(feeds, customer, "Ana"), await write(feeds, customer, "Ben")
    anas = await write(feeds, want, f"query:open-orders?customer={ana}")
    bens = await write(feeds, want, f"query:open-orders?customer={ben}")
    async with evaluating(feeds):
        await is_kept(feeds, anas, bens)
        first = await write(feeds, order, ana)
        await until(feeds, lambda: [row["id"] for row in newest(anas)] == [first], "published")
    _, demand = await feeds.database.read(row_of, anas)
    assert (demand.evaluations, demand.unheard) == (2, 0)
    _, demand = await feeds.database.read(row_of, bens)
    assert demand.evaluations == 1
    assert await feeds.database.read(values, bens) == [[]]


async def test_what_it_reads_is_found_out_once_while_it_asks_the_same(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, found_out = result.footprint_of, []
    monkeypatch.setattr(result, "footprint_of", lambda of: found_out.append(of) or real(of))
    ana = await write(feeds, customer)
    feed_id = await write(feeds, want, f"query:open-orders?customer={ana}")
    async with evaluating(feeds):
        await is_kept(feeds, feed_id)
        for count in (1, 2, 3):
            await write(feeds, order, ana)
            await until(feeds, lambda count=count: len(newest(feed_id)) == count, "published")  # type: ignore[misc]
    assert len(found_out) == 1


async def test_a_burst_in_one_transaction_is_one_evaluation(feeds: Feeds) -> None:
    ana = await write(feeds, customer)
    feed_id = await write(feeds, want, f"query:open-orders?customer={ana}")

    def burst() -> None:
        with transaction.atomic():
            for total in range(20):
                order(ana, total)
            Order.objects.filter(customer_id=ana).update(total=7)

    async with evaluating(feeds):
        await is_kept(feeds, feed_id)
        await write(feeds, burst)
        await until(feeds, lambda: len(newest(feed_id)) == 20, "published")
    _, demand = await feeds.database.read(row_of, feed_id)
    assert demand.evaluations == 2


async def test_a_rolled_back_transaction_is_not_evaluated(feeds: Feeds) -> None:
    ana = await write(feeds, customer)
    feed_id = await write(feeds, want, f"query:open-orders?customer={ana}")

    def undone() -> None:
        with transaction.atomic():
            order(ana)
            transaction.set_rollback(True)

    async with evaluating(feeds):
        await is_kept(feeds, feed_id)
        await write(feeds, undone)
        last = await write(feeds, order, ana)
        await until(feeds, lambda: [row["id"] for row in newest(feed_id)] == [last], "published")
    _, demand = await feeds.database.read(row_of, feed_id)
    assert demand.evaluations == 2


async def test_a_query_that_fails_says_so_keeps_its_value_and_recovers(
    feeds: Feeds, caplog: pytest.LogCaptureFixture
) -> None:
    broken: list[str] = []

    @live_query("fragile", reads=[Order])
    def fragile() -> Any:
        if broken:
            raise KeyError(broken[0])
        return Order.objects.count()

    feed_id = await write(feeds, want, "query:fragile")
    async with evaluating(feeds):
        await is_kept(feeds, feed_id)
        broken.append("a secret of somebody's")
        ana = await write(feeds, customer)
        await write(feeds, order, ana)
        await until(feeds, lambda: row_of(feed_id)[0].state == "failing", "failing")
        feed, _ = await feeds.database.read(row_of, feed_id)
        assert feed.error == "The query failed (KeyError). Its reason is in the log."
        assert feed.next_poll_at is not None
        await until(
            feeds, lambda: "a secret of somebody's" in row_of(feed_id)[1].reason, "the reason for staff"
        )
        assert await feeds.database.read(newest, feed_id) == 0
        broken.clear()
        await until(feeds, lambda: row_of(feed_id)[0].state == "fresh", "fresh again")
    assert await feeds.database.read(newest, feed_id) == 1
    assert "query_failed query=query:fragile" in caplog.text


async def test_a_slow_query_is_cancelled_in_the_database_and_delays_no_other(feeds: Feeds) -> None:
    """More slow ones than there are threads."""
    calls: Counter[int] = Counter()
    numbers = range(42, 45)  # with another one, hearing finds out what the query reads

    @live_query("slow", params={"n": int}, reads=[Order])
    def slow(n: int) -> Any:
        calls[n] += 1
        forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(600)" if connection.vendor == "postgresql" else forever)

    ana = await write(feeds, customer)
    slow_ones = [await write(feeds, want, f"query:slow?n={n}") for n in numbers]
    quick = await write(feeds, want, f"query:open-orders?customer={ana}")
    async with evaluating(feeds, quick_s=2, query_threads=2) as evaluator:
        async with evaluator._slow.turns:  # as if one of them never ended
            await is_kept(feeds, quick)
            for total in range(3):
                await write(feeds, order, ana, total)
                await until(feeds, lambda total=total: len(newest(quick)) == total + 1, "published")  # type: ignore[misc]
            assert max(calls[n] for n in numbers) == 1, "they are not tried again among the others"
            evaluator._slow.limit_s = 0.6
        await is_kept(feeds, *slow_ones)
        feed, _ = await feeds.database.read(row_of, slow_ones[0])
    assert feed.state == "failing"
    assert re.fullmatch(r"The query took longer than (0\.6|2) s and was cancelled\.", feed.error)


async def test_what_nobody_watches_any_more_is_not_evaluated_and_says_so(feeds: Feeds) -> None:
    ana = await write(feeds, customer)
    left = await write(feeds, want, f"query:open-orders?customer={ana}")
    async with evaluating(feeds):
        await is_kept(feeds, left)
        await write(feeds, lambda: Demand.objects.filter(pk=left).update(wanted_until=timezone.now()))
        await until(feeds, lambda: row_of(left)[0].state == "paused", "paused")
        watched = await write(feeds, want, "query:recent-orders")
        await is_kept(feeds, watched)
        await write(feeds, order, ana)
        await until(feeds, lambda: len(newest(watched)) == 1, "published")
        assert await feeds.database.read(values, left) == [[]]
        # Watched again, it is evaluated at once.
        await write(feeds, want, f"query:open-orders?customer={ana}")
        await until(feeds, lambda: len(newest(left)) == 1, "published")


async def test_a_change_that_nothing_told_of_is_found_at_the_interval_and_counted(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ana = await write(feeds, customer)
    feed_id = await write(feeds, want, f"query:open-orders?customer={ana}")
    async with evaluating(feeds):
        await is_kept(feeds, feed_id)
        monkeypatch.setattr(Evaluator, "_hear", lambda self, changes: self._hears.set())
    async with evaluating(feeds, "deaf", query_recheck_s=0.2):
        await is_kept(feeds, feed_id)
        await write(feeds, order, ana)
        await until(feeds, lambda: len(newest(feed_id)) == 1, "found")
        await until(feeds, lambda: row_of(feed_id)[1].unheard == 1, "counted")
    assert f"change_unheard query=query:open-orders?customer={ana}" in caplog.text


async def test_a_name_that_no_query_has_fails_alone(feeds: Feeds) -> None:
    lost = await write(feeds, want, "query:removed")
    found = await write(feeds, want, "query:recent-orders")
    async with evaluating(feeds):
        await is_kept(feeds, lost, found)
    assert (await feeds.database.read(row_of, lost))[0].state == "failing"
    assert (await feeds.database.read(row_of, found))[0].state == "fresh"
