"""Which queries an evaluator asks when it hears of a change, while they come, are evaluated, and go."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from django.utils import timezone

from docs.examples.orders.models import Order
from realtime.feeds.models import Demand
from realtime.feeds.runtime import Feeds
from realtime.queries.changes import Change
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
    want,
    write,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("further_queries")]


async def test_a_change_during_the_first_evaluation_is_heard(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Change] = []
    hear = Evaluator._hear

    def overheard(self: Evaluator, changes: Sequence[Change]) -> None:
        heard.extend(changes)
        hear(self, changes)

    monkeypatch.setattr(Evaluator, "_hear", overheard)
    has_read, may_end = threading.Event(), threading.Event()

    @live_query("patient", reads=[Order])
    def patient() -> Any:
        count = Order.objects.count()
        if count == 1:
            has_read.set()
            assert may_end.wait(30)
        return count

    ana = await write(feeds, customer)
    await write(feeds, order, ana)
    feed_id = await write(feeds, want, "query:patient")
    async with evaluating(feeds):
        await until(feeds, has_read.is_set, "the evaluation is under way")
        heard.clear()
        await write(feeds, order, ana)
        await until(feeds, lambda: Order._meta.db_table in {each.table for each in heard}, "heard")
        may_end.set()
        await until(feeds, lambda: newest(feed_id) == 2, "published")
    _, demand = await feeds.database.read(row_of, feed_id)
    assert demand.unheard == 0


async def test_a_query_that_was_let_go_is_asked_no_more(feeds: Feeds) -> None:
    calls: list[int] = []

    @live_query("counted", reads=[Order])
    def counted() -> Any:
        calls.append(Order.objects.count())
        return calls[-1]

    ana = await write(feeds, customer)
    left = await write(feeds, want, "query:counted")
    watched = await write(feeds, want, f"query:open-orders?customer={ana}")
    async with evaluating(feeds):
        await is_kept(feeds, left, watched)
        await write(feeds, lambda: Demand.objects.filter(pk=left).update(wanted_until=timezone.now()))
        await until(feeds, lambda: row_of(left)[0].state == "paused", "paused")
        for total in (1, 2):
            await write(feeds, order, ana, total)
            await until(feeds, lambda total=total: len(newest(watched)) == total, "published")  # type: ignore[misc]
    assert set(calls) == {0}, "it has seen no order"
