"""What Django says of rows is told on commit, one signal a table, and not at all when it is rolled back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.db import transaction

from docs.examples.orders.models import Customer, Order, Tag
from realtime.feeds.demand import ENGINES
from realtime.feeds.models import Demand, Feed
from realtime.feeds.runtime import Feeds
from realtime.queries import data_version, signals, triggers
from realtime.queries.changes import Change
from realtime.sources.models import EngineSeen
from tests.queries.hearing import hearing

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_trigger_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on SQLite, which has no notifications, and where PostgreSQL lets us make no triggers."""
    monkeypatch.setattr(signals, "_notified", signals._Notified())
    monkeypatch.setattr(triggers, "notified", lambda tables: frozenset())


Sent = list[tuple[str, Any]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Every signal: its table and rows."""
    sent: Sent = []

    def take(group: str, signal: Mapping[str, Any]) -> None:
        assert group == ENGINES
        assert signal["kind"] == "query.changed"
        sent.append((signal["table"], signal["rows"]))

    monkeypatch.setattr(signals, "signal_now", take)
    return sent


@pytest.fixture
def customer(sent: Sent) -> Customer:
    made = Customer.objects.create(name="Ana")
    sent.clear()
    return made


def make_order() -> Order:
    return Order.objects.create(customer=Customer.objects.create(name="Ana"), total=1)


def key(row: Order) -> dict[str, str]:
    return {"id": str(row.pk)}


def test_a_saved_and_a_deleted_row_are_told(sent: Sent, customer: Customer) -> None:
    order = Order.objects.create(customer=customer, total=1)
    gone = key(order)
    order.delete()
    assert [each for each in sent if each[0] == "orders_order"] == [("orders_order", [gone])] * 2


def test_a_transaction_is_told_once_it_is_committed_and_in_one_signal(sent: Sent, customer: Customer) -> None:
    with transaction.atomic():
        orders = [Order.objects.create(customer=customer, total=1) for _ in range(3)]
        assert not sent
    assert sent == [("orders_order", [key(order) for order in orders])]


def test_what_is_rolled_back_is_not_told(sent: Sent, customer: Customer) -> None:
    with transaction.atomic():
        Order.objects.create(customer=customer, total=1)
        transaction.set_rollback(True)
    assert not sent


def test_a_savepoint_that_is_rolled_back_takes_its_own_rows_along_and_no_others(
    sent: Sent, customer: Customer
) -> None:
    with transaction.atomic():
        first = Order.objects.create(customer=customer, total=1)
        with transaction.atomic():
            Order.objects.create(customer=customer, total=1)
            transaction.set_rollback(True)
        with transaction.atomic():
            second = Order.objects.create(customer=customer, total=1)
        third = Order.objects.create(customer=customer, total=1)
    told = [row for table, rows in sent if table == "orders_order" for row in rows]
    assert sorted(told, key=str) == sorted(map(key, (first, second, third)), key=str)


def test_of_many_rows_only_the_table_is_told(sent: Sent, customer: Customer) -> None:
    with transaction.atomic():
        for _ in range(signals.MOST_ROWS + 1):
            Order.objects.create(customer=customer, total=1)
    assert sent == [("orders_order", None)]


def test_tags_that_are_added_and_taken_away_are_told(sent: Sent, customer: Customer) -> None:
    order, tag = Order.objects.create(customer=customer, total=1), Tag.objects.create(name="new")
    sent.clear()
    order.tags.add(tag)
    tag.orders.clear()
    assert sent == [("orders_order_tags", None)] * 2


def test_tables_that_no_query_reads_are_not_told(sent: Sent) -> None:
    EngineSeen.objects.create(name="engine", started_at="2026-01-01T00:00Z", seen_at="2026-01-01T00:00Z")
    feed = Feed(slug="query:a", title="a", kind=Feed.Kind.QUERY)
    Feed.objects.bulk_create([feed])
    Demand.objects.create(feed=feed, base="query:a", wanted_until="2026-01-01T00:00Z")
    assert not sent


@pytest.mark.only("postgresql")  # SQLite's triggers notify nobody
def test_what_a_trigger_notifies_is_not_told_twice(
    sent: Sent, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(signals, "signal_now", lambda *told: sent.append(told))
    monkeypatch.setattr(signals, "_notified", signals._Notified())
    make_order()
    assert not sent
    triggers.remove()
    try:
        monkeypatch.setattr(signals, "_notified", signals._Notified())
        make_order()
        assert sent
    finally:
        triggers.install()


@pytest.mark.only("sqlite")  # PostgreSQL notifies at once
async def test_a_save_in_this_process_is_heard_at_once_on_sqlite(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_version, "LOOK_EVERY_S", 3600)
    async with hearing(feeds) as heard:
        order = await feeds.database.write(make_order)
        assert (await heard.of("orders_order")).rows == (
            {**key(order), "customer_id": str(order.customer_id), "open": "1"},
        )


async def test_without_triggers_saves_are_heard_all_the_same(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    await feeds.database.write(triggers.remove)
    monkeypatch.setattr(triggers, "ensure", lambda *_: frozenset())  # as of a user who may make none
    try:
        async with hearing(feeds) as heard:
            order = await feeds.database.write(make_order)
            if feeds.database._is_sqlite:
                await heard.of("")
            else:
                assert await heard.of("orders_order") == Change("orders_order", None, (key(order),))
    finally:
        await feeds.database.write(triggers.install)
