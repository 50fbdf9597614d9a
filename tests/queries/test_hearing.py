"""Every change of a row that queries read is heard once it is committed, whoever made it, and exactly."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from docs.examples.orders.models import Customer, Order, Tag
from realtime.feeds import store
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds
from realtime.queries import listening, triggers
from realtime.queries.changes import EVERYTHING, Change
from realtime.queries.hearing import Hearing
from tests.queries.hearing import Heard, ended, hearing

pytestmark = pytest.mark.django_db(transaction=True)

ORDERS = "orders_order"


@pytest.fixture
async def heard(feeds: Feeds) -> AsyncIterator[Heard]:
    async with hearing(feeds) as heard:
        yield heard


Write = Callable[..., Any]


@pytest.fixture
def write(feeds: Feeds) -> Write:
    return feeds.database.write


def sql(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def make_order(**values: Any) -> Order:
    customer, _ = Customer.objects.get_or_create(name="Ana")
    return Order.objects.create(**({"customer": customer, "total": 1} | values))


def held(order: Order, **others: str) -> dict[str, str]:
    """What is told of an order's row."""
    return {"id": str(order.pk), "customer_id": str(order.customer_id), "open": "1"} | others


async def test_an_insert_tells_the_short_values_of_the_row(heard: Heard, write: Write) -> None:
    order = await write(make_order)
    assert await heard.of(ORDERS) == Change(ORDERS, None, (held(order),))


async def test_an_update_tells_what_it_changed_and_the_row_before_and_after(
    heard: Heard, write: Write
) -> None:
    order = await write(make_order)
    await heard.of(ORDERS)
    await write(lambda: Order.objects.filter(pk=order.pk).update(open=False, total=7))
    change = await heard.of(ORDERS)
    assert change.columns == {"open", "total"}
    assert change.rows is not None
    assert sorted(change.rows, key=str) == sorted([held(order), held(order, open="0")], key=str)


async def test_a_delete_tells_the_row_that_was(heard: Heard, write: Write) -> None:
    order = await write(make_order)
    await heard.of(ORDERS)
    await write(lambda: sql("DELETE FROM orders_order"))
    assert await heard.of(ORDERS) == Change(ORDERS, None, (held(order),))


async def test_an_update_that_changes_nothing_is_not_heard(heard: Heard, write: Write) -> None:
    order = await write(make_order)
    await heard.of(ORDERS)
    await write(lambda: Order.objects.filter(pk=order.pk).update(total=1))
    await write(lambda: Order.objects.filter(pk=order.pk).update(note="this is"))
    assert (await heard.of(ORDERS)).columns == {"note"}


async def test_an_update_of_no_row_is_not_heard(heard: Heard, write: Write) -> None:
    await write(lambda: Order.objects.filter(pk=-1).update(total=1))
    await write(lambda: sql("DELETE FROM orders_order WHERE id = -1"))
    await write(lambda: sql("INSERT INTO orders_order SELECT * FROM orders_order WHERE id = -1"))
    order = await write(make_order)
    assert await heard.of(ORDERS) == Change(ORDERS, None, (held(order),))


async def test_a_primary_key_that_changes_tells_both_rows(heard: Heard, write: Write) -> None:
    order = await write(make_order)
    await heard.of(ORDERS)
    await write(lambda: Order.objects.filter(pk=order.pk).update(id=order.pk + 1000))
    change = await heard.of(ORDERS)
    assert change.columns is not None
    assert "id" in change.columns
    assert change.rows is not None
    assert {row["id"] for row in change.rows} == {str(order.pk), str(order.pk + 1000)}


async def test_many_to_many_rows_are_heard(heard: Heard, write: Write) -> None:
    order, tag = await write(make_order), await write(lambda: Tag.objects.create(name="new"))
    await write(lambda: order.tags.add(tag))
    change = await heard.of("orders_order_tags")
    assert change.rows is not None
    (row,) = change.rows
    assert (row["order_id"], row["tag_id"]) == (str(order.pk), str(tag.pk))
    await write(order.tags.clear)
    assert (await heard.of("orders_order_tags")).rows == (row,)


async def test_bulk_writes_of_a_few_rows_tell_each(heard: Heard, write: Write) -> None:
    customer = await write(lambda: Customer.objects.create(name="Ana"))
    rows = [Order(customer=customer, total=1) for _ in range(20)]
    await write(lambda: Order.objects.bulk_create(rows))
    change = await heard.of(ORDERS)
    assert change.rows is not None
    assert len(change.rows) == 20


async def test_bulk_writes_of_many_rows_tell_the_table_and_the_columns(heard: Heard, write: Write) -> None:
    customer = await write(lambda: Customer.objects.create(name="Ana"))
    rows = [Order(customer=customer, total=1) for _ in range(10_500)]
    await write(lambda: Order.objects.bulk_create(rows))
    await heard.until(lambda: any(not change.rows for change in heard.changes))
    heard.changes.clear()
    await write(lambda: Order.objects.filter(pk__gt=rows[-1].pk - 2_000).update(total=2))
    assert await heard.of(ORDERS) in (Change(ORDERS), Change(ORDERS, frozenset({"total"})))


async def test_a_table_that_is_emptied_is_heard(heard: Heard, write: Write) -> None:
    await write(make_order)
    await heard.of(ORDERS)
    cascade = (
        "TRUNCATE orders_order CASCADE" if connection.vendor == "postgresql" else "DELETE FROM orders_order"
    )
    await write(lambda: sql(cascade))
    assert (await heard.of(ORDERS)).columns is None


async def test_what_is_rolled_back_is_not_heard(heard: Heard, write: Write) -> None:
    def rolled_back() -> None:
        with transaction.atomic():
            make_order(open=False)
            transaction.set_rollback(True)

    await write(rolled_back)
    order = await write(make_order)
    assert await heard.of(ORDERS) == Change(ORDERS, None, (held(order),))


async def test_a_savepoint_that_is_rolled_back_is_not_heard_and_its_transaction_is(
    heard: Heard, write: Write
) -> None:
    def partly() -> Order:
        with transaction.atomic():
            order = make_order()
            with transaction.atomic():
                make_order(open=False)
                transaction.set_rollback(True)
        return order

    order = await write(partly)
    assert await heard.of(ORDERS) == Change(ORDERS, None, (held(order),))
    assert not [change for change in heard.changes if change.table == ORDERS]


async def test_what_is_not_committed_is_not_heard_yet(heard: Heard, feeds: Feeds) -> None:
    inserted, may_end = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slowly() -> None:
        with transaction.atomic():
            make_order()
            loop.call_soon_threadsafe(inserted.set)
            asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result(30)

    writing = asyncio.create_task(feeds.database.write(slowly))
    await inserted.wait()
    assert not heard.changes
    may_end.set()
    await writing
    await heard.of(ORDERS)


async def test_another_program_is_heard(heard: Heard, write: Write) -> None:
    """It knows nothing of Django, and has no part in this process."""
    customer = await write(lambda: Customer.objects.create(name="Ana"))
    statement = (
        "INSERT INTO orders_order (customer_id, total, open, note, created_at)"
        f" VALUES ({customer.pk}, 1, '1', 'by hand', '2026-01-01 00:00+00:00')"
    )
    if connection.vendor == "postgresql":
        with psycopg.connect(**listening._parameters()) as program:
            program.execute(statement.encode())
    else:
        with contextlib.closing(sqlite3.connect(connection.settings_dict["NAME"])) as database, database:
            database.execute(statement)
    change = await heard.of(ORDERS)
    assert change.rows is not None
    assert [row["customer_id"] for row in change.rows] == [str(customer.pk)]


async def test_a_publication_tells_nothing_of_its_feed_and_a_new_state_does(
    heard: Heard, feeds: Feeds
) -> None:
    feed = await feeds.database.write(lambda: Feed.objects.create(slug="a", title="a"))
    await heard.of("realtime_feed")
    await feeds.store.publish(feed.pk, {"value": 1})
    await feeds.store.write(store.Write(feed.pk, health=store.Health("failing", None, None, "away")))
    await heard.until(lambda: any(change.table == "realtime_feed" for change in heard.changes))
    entry, *changes = heard.changes
    assert entry.table == "realtime_journalentry"
    (change,) = changes
    assert (change.table, change.columns) == ("realtime_feed", {"state", "error"})
    assert change.rows is not None
    assert {row["state"] for row in change.rows if row["slug"] == "a"} == {"fresh", "failing"}


async def test_tables_that_no_query_reads_have_no_triggers(heard: Heard, write: Write) -> None:
    from realtime.sources.models import EngineSeen

    await write(lambda: sql("UPDATE django_session SET session_data = ''"))
    await write(lambda: EngineSeen.objects.all().delete())
    await write(make_order)
    await heard.until(lambda: heard.changes)
    assert heard.changes[0].table in {ORDERS, "orders_customer"}


async def test_what_an_evaluation_reads_beyond_its_declaration_is_heard_from_then_on(
    feeds: Feeds, write: Write
) -> None:
    changes = Heard()
    hearing = Hearing(feeds, changes.tell)
    task = asyncio.create_task(hearing.run())
    try:
        await changes.until(lambda: EVERYTHING in changes.changes)
        changes.changes.clear()
        hearing.read(["auth_group"])
        await changes.until(lambda: EVERYTHING in changes.changes)  # whatever happened until then
        group = await write(lambda: Group.objects.create(name="new"))
        assert (await changes.of("auth_group")).rows == ({"id": str(group.pk), "name": "new"},)
    finally:
        await ended(task)
        await write(triggers.install)


@pytest.mark.only("sqlite")  # PostgreSQL does not tell of commits
async def test_a_table_without_a_trigger_makes_any_commit_count_on_sqlite(
    feeds: Feeds, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(triggers.remove)
    monkeypatch.setattr(triggers, "ensure", lambda *_: frozenset())
    try:
        async with hearing(feeds) as heard:
            for _ in range(2):
                await write(lambda: sql("UPDATE django_session SET session_data = session_data"))
                await write(lambda: Group.objects.create(name=str(uuid.uuid4())))
                await heard.of("")
    finally:
        await write(triggers.install)
