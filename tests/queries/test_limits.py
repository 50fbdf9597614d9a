"""What an evaluation may do: reads one moment, writes nothing, is cancelled by the database in time."""

from __future__ import annotations

import threading

import pytest
from django.db import Error, connection

from realtime.errors import QueryTooSlow
from realtime.feeds.catalog import create_feed
from realtime.feeds.models import Feed
from realtime.queries.limits import reading

pytestmark = pytest.mark.django_db(transaction=True)

SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
}


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def elsewhere(unit: object) -> None:
    """In a thread, on a connection of its own."""

    def work() -> None:
        try:
            unit()  # type: ignore[operator]
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_statement_that_takes_too_long_is_cancelled_and_the_connection_is_good_afterwards() -> None:
    with pytest.raises(QueryTooSlow, match=r"longer than 0\.2 s"), reading(0.2):
        run(SLOW[connection.vendor])
    create_feed("after")
    assert Feed.objects.count() == 1


def test_no_statement_begins_when_the_time_is_over() -> None:
    with pytest.raises(QueryTooSlow), reading(0.0):
        Feed.objects.count()


def test_nothing_can_be_written() -> None:
    with pytest.raises(Error), reading(5):
        Feed.objects.create(slug="written", title="written")
    assert not Feed.objects.exists()


def test_all_statements_see_one_moment() -> None:
    with reading(5):
        assert Feed.objects.count() == 0
        elsewhere(lambda: create_feed("meanwhile"))
        assert Feed.objects.count() == 0
    assert Feed.objects.count() == 1


def test_an_evaluation_takes_no_lock_that_a_writer_waits_for() -> None:
    with reading(5):
        Feed.objects.count()
        elsewhere(lambda: create_feed("written"))
    assert Feed.objects.count() == 1
