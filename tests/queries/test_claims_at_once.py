"""Engines and those who want something, at the same moment, on PostgreSQL's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from realtime.feeds.models import Demand, Feed
from realtime.feeds.standing import want_again
from realtime.queries.claims import Note, hold, release, save_notes
from tests.lock_waits import someone_waits
from tests.queries.evaluating import want
from tests.services import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.only("postgresql")]

Begin = Callable[..., "Future[Any]"]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Begins a unit on a connection of its own; returns when it waits for a lock or has ended."""

    def run(unit: Callable[..., Any], *args: Any) -> Any:
        try:
            return unit(*args)
        finally:
            connection.close()

    with ThreadPoolExecutor() as threads:

        def begin(unit: Callable[..., Any], *args: Any) -> Future[Any]:
            running = threads.submit(run, unit, *args)
            wait_until(lambda: running.done() or someone_waits(), "it waits for a lock or has ended")
            return running

        yield begin


def test_who_wants_a_query_again_just_as_it_lapses_keeps_it(begin: Begin) -> None:
    feed_id = want("query:a")
    hold("one", timezone.now())
    lapsed = timezone.now() + timedelta(hours=2)
    with transaction.atomic():
        want_again([feed_id], lapsed + timedelta(hours=1))
        holding = begin(hold, "one", lapsed)
    mine, unwanted = holding.result(30)
    assert ([each.feed_id for each in mine], unwanted) == ([feed_id], [])


def test_an_engine_waits_for_another_that_claims_and_sees_what_it_holds(begin: Begin) -> None:
    want("query:a")
    with transaction.atomic():
        hold("one", timezone.now())
        begin(want, "query:a#t.html:1:00000000").result(30)
        holding = begin(hold, "two", timezone.now())
    assert holding.result(30) == ([], [])
    assert len(hold("one", timezone.now())[0]) == 2


def note(feed_id: int) -> Note:
    return Note(feed_id, kept=True, evaluations=1, unheard=0, duration_ms=1, reason="")


@pytest.mark.parametrize(
    "unit",
    [
        lambda ids: save_notes("one", [note(feed_id) for feed_id in reversed(ids)]),
        lambda ids: want_again(list(reversed(ids)), timezone.now() + timedelta(hours=9)),
        lambda ids: hold("one", timezone.now()),
        lambda ids: release("one"),
    ],
    ids=["notes", "want again", "hold", "release"],
)
def test_rows_are_locked_in_the_order_of_their_feeds(begin: Begin, unit: Callable[[list[int]], None]) -> None:
    slugs = [f"query:a?n={number}" for number in range(3)]
    Feed.objects.bulk_create(Feed(slug=slug, title=slug, kind=Feed.Kind.QUERY) for slug in slugs)
    ids = [want(slug) for slug in reversed(slugs)][::-1]  # so that the rows stand in the other order
    hold("one", timezone.now())
    with transaction.atomic():
        Demand.objects.select_for_update().get(pk=ids[0])
        working = begin(unit, ids)
        for feed_id in ids[1:]:
            Demand.objects.select_for_update(nowait=True).get(pk=feed_id)
    working.result(30)
