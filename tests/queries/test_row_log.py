"""SQLite's log is short, and a reader that it has left behind, or that cannot read it, misses nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator

import pytest
from django.db import connection, transaction

from docs.examples.orders.models import Customer, Order
from realtime.feeds.runtime import Feeds
from realtime.queries import data_version, row_log
from realtime.queries.changes import EVERYTHING
from realtime.queries.data_version import RowLog
from tests.queries.hearing import Heard, hearing
from tests.services import wait_until

# PostgreSQL has no log.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.only("sqlite")]


@pytest.fixture
async def heard(feeds: Feeds) -> AsyncIterator[Heard]:
    async with hearing(feeds) as heard:
        yield heard


def make_orders(many: int) -> None:
    customer = Customer.objects.create(name="Ana")
    Order.objects.bulk_create(Order(customer=customer, total=1) for _ in range(many))


def sql(statement: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        found = cursor.fetchone()
        return int(found[0]) if found else 0


def test_the_log_is_trimmed_as_it_is_written() -> None:
    make_orders(row_log.KEPT + 2 * row_log.TRIMMED_EVERY)
    assert 0 < sql(f"SELECT count(*) FROM {row_log.LOG}") <= row_log.KEPT + row_log.TRIMMED_EVERY


async def test_what_was_trimmed_before_it_was_read_counts_as_everything(heard: Heard, feeds: Feeds) -> None:
    def write() -> None:
        with transaction.atomic():
            make_orders(3)
            sql(f"DELETE FROM {row_log.LOG} WHERE id IN (SELECT max(id) - 1 FROM {row_log.LOG})")

    await feeds.database.write(write)
    await heard.until(lambda: heard.changes)
    assert heard.changes == [EVERYTHING]


async def test_a_log_that_was_made_anew_counts_as_everything(heard: Heard, feeds: Feeds) -> None:
    def write() -> None:
        with transaction.atomic():
            sql(f"DELETE FROM {row_log.LOG}")
            sql(f"UPDATE sqlite_sequence SET seq = 0 WHERE name = '{row_log.LOG}'")
            make_orders(1)

    await feeds.database.write(make_orders, 3)
    await heard.of("orders_order")  # the last of its commits
    await feeds.database.write(write)
    await heard.until(lambda: heard.changes)
    assert heard.changes == [EVERYTHING]


async def test_a_log_that_cannot_be_read_is_opened_again_and_everything_told(
    heard: Heard, feeds: Feeds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, failures = RowLog.look, 2

    def look(log: RowLog) -> object:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise sqlite3.OperationalError("disk I/O error")
        return real(log)

    monkeypatch.setattr(data_version, "RETRY_S", 0.01)
    monkeypatch.setattr(RowLog, "look", look)
    await heard.until(lambda: EVERYTHING in heard.changes)
    assert [record.message for record in caplog.records] == ["row_log_away disk I/O error", "row_log_back"]
    heard.changes.clear()
    await feeds.database.write(make_orders, 1)
    assert (await heard.of("orders_order")).rows


async def test_the_reader_s_own_connection_is_closed_when_it_ends(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    real = RowLog.close
    monkeypatch.setattr(RowLog, "close", lambda log: closed.append(real(log)))
    async with hearing(feeds):
        pass
    await feeds.database.read(wait_until, lambda: bool(closed), "it is closed")
