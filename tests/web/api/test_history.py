"""History over HTTP: which publications come, in which order, and what a lost position is told."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from realtime.feeds.journal import history, holds_next
from realtime.feeds.models import Feed, JournalEntry
from realtime.feeds.position import Position
from realtime.feeds.runtime import Feeds

from .conftest import Api

FIRST = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def fill(count: int, *, slug: str = "lab", trimmed: int = 0, data: str = "") -> str:
    """A feed with `count` publications a minute apart, the first `trimmed` of them gone; its epoch."""
    feed = Feed.objects.create(slug=slug, title=slug, offset=count, public=True)
    JournalEntry.objects.bulk_create(
        [
            JournalEntry(
                feed=feed,
                offset=offset,
                published_at=FIRST + timedelta(minutes=offset - 1),
                data=data or str(offset),
            )
            for offset in range(trimmed + 1, count + 1)
        ],
        batch_size=5000,
    )
    return feed.epoch


def offsets(answer: object) -> list[int]:
    return [publication["offset"] for publication in answer.json["publications"]]  # type: ignore[attr-defined]


async def test_the_newest_come_oldest_first(api: Api, feeds: Feeds) -> None:
    epoch = await feeds.database.write(fill, 5)
    answer = await api.get("/api/feeds/lab/history?limit=2")
    assert answer.json == {
        "slug": "lab",
        "epoch": epoch,
        "offset": 5,
        "reset": False,
        "publications": [
            {"offset": 4, "published_at": "2026-01-31T12:03:00.000Z", "data": 4},
            {"offset": 5, "published_at": "2026-01-31T12:04:00.000Z", "data": 5},
        ],
    }


async def test_leafing_back_by_offset_misses_nothing_of_one_millisecond(api: Api, feeds: Feeds) -> None:
    def at_once() -> None:
        fill(7)
        JournalEntry.objects.update(published_at=FIRST)

    await feeds.database.write(at_once)
    seen: list[int] = []
    before = ""
    while page := offsets(await api.get(f"/api/feeds/lab/history?limit=3{before}")):
        seen = page + seen
        before = f"&before={page[0]}"
    assert seen == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("before", ["0", "-1", "x", str(2**63)])
async def test_a_bad_offset_to_leaf_back_from_is_named(api: Api, feeds: Feeds, before: str) -> None:
    await feeds.database.write(fill, 1)
    answer = await api.get(f"/api/feeds/lab/history?before={before}")
    assert (answer.status, answer.json["error"]["field"]) == (400, "before")


async def test_since_gives_what_came_next(api: Api, feeds: Feeds) -> None:
    epoch = await feeds.database.write(fill, 5)
    assert offsets(await api.get(f"/api/feeds/lab/history?since={epoch}:1&limit=2")) == [2, 3]
    assert offsets(await api.get(f"/api/feeds/lab/history?since={epoch}:0")) == [1, 2, 3, 4, 5]
    end = await api.get(f"/api/feeds/lab/history?since={epoch}:5")
    assert (offsets(end), end.json["reset"]) == ([], False)


@pytest.mark.parametrize("since", ["{epoch}:1", "{epoch}:9", "otherXYZ:4", "{epoch}:9223372036854775807"])
async def test_a_position_that_is_gone_is_answered_by_a_reset(api: Api, feeds: Feeds, since: str) -> None:
    epoch = await feeds.database.write(lambda: fill(5, trimmed=2))
    answer = await api.get(f"/api/feeds/lab/history?since={since.format(epoch=epoch)}")
    assert answer.status == 200
    assert (answer.json["reset"], offsets(answer)) == (True, [3, 4, 5])


async def test_a_time_range_has_its_start_and_not_its_end(api: Api, feeds: Feeds) -> None:
    await feeds.database.write(fill, 5)
    path = "/api/feeds/lab/history?start=2026-01-31T13:01:00%2B01:00&end=2026-01-31T12:03:00Z"
    assert offsets(await api.get(path)) == [2, 3]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("since=5", "since"),
        ("since=abc:-1", "since"),
        ("since=abc:99999999999999999999", "since"),
        ("start=yesterday", "start"),
        ("start=2026-01-31T12:00:00", "start"),
        ("end=2026-01-31T12:00:00+01:00", "end"),  # an unescaped + is a space
        ("end=0001-01-01T00:00:00%2B14:00", "end"),
        ("start=%00", "start"),
    ],
)
async def test_a_wrong_parameter_is_named(api: Api, feeds: Feeds, query: str, field: str) -> None:
    await feeds.database.write(fill, 1)
    refused = await api.get(f"/api/feeds/lab/history?{query}")
    assert refused.status == 400
    assert refused.error["field"] == field


async def test_large_values_come_in_several_answers(api: Api, feeds: Feeds) -> None:
    epoch = await feeds.database.write(lambda: fill(10, data=f'"{"x" * 990_000}"'))
    newest = await api.get("/api/feeds/lab/history")
    assert offsets(newest) == list(range(3, 11))
    first = await api.get(f"/api/feeds/lab/history?since={epoch}:0")
    assert offsets(first) == list(range(1, 9))
    rest = await api.get(f"/api/feeds/lab/history?since={epoch}:8")
    assert (offsets(rest), rest.json["offset"]) == ([9, 10], 10)


async def test_a_page_of_a_long_history_is_found(api: Api, feeds: Feeds) -> None:
    epoch = await feeds.database.write(fill, 5000)
    assert offsets(await api.get("/api/feeds/lab/history?limit=1000")) == list(range(4001, 5001))
    assert offsets(await api.get(f"/api/feeds/lab/history?since={epoch}:2500&limit=1")) == [2501]


@pytest.mark.django_db
def test_a_page_costs_the_same_however_long_the_history() -> None:
    epoch = fill(5000)
    feed_id = Feed.objects.get().pk
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with CaptureQueriesContext(connection) as asked:
        assert len(history(feed_id, limit=20)) == 20
        assert len(history(feed_id, limit=20, before=2500)) == 20
        assert len(history(feed_id, limit=20, since=Position(epoch, 2500))) == 20
        assert holds_next(feed_id, Position(epoch, 2500))
    explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    of_the_journal = [query["sql"] for query in asked if "realtime_journalentry" in query["sql"]]
    assert len(of_the_journal) == 4
    for sql in of_the_journal:
        with connection.cursor() as cursor:
            cursor.execute(f"{explain} {sql}")
            plan = " ".join(str(row) for row in cursor.fetchall()).upper()
        assert "INDEX" in plan
        assert not re.search(r"SEQ SCAN|\bSCAN REALTIME|SORT|TEMP B-TREE", plan), plan
