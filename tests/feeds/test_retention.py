from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from realtime.feeds import retention
from realtime.feeds.database import Database
from realtime.feeds.models import Feed, JournalEntry
from realtime.feeds.retention import overfull, trim, trim_all
from realtime.feeds.store import Write, commit

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def make_feed(slug: str = "quotes", *, entries: int = 0, every_s: float = 1, **fields: object) -> Feed:
    """A feed whose newest entry is from noon and whose others lie `every_s` apart before it."""
    feed = Feed.objects.create(slug=slug, title=slug, offset=entries, **fields)
    JournalEntry.objects.bulk_create(
        JournalEntry(
            feed=feed,
            offset=offset,
            published_at=NOON - timedelta(seconds=every_s * (entries - offset)),
            data=str(offset),
        )
        for offset in range(1, entries + 1)
    )
    return feed


def offsets(feed: Feed) -> list[int]:
    return list(feed.entries.order_by("offset").values_list("offset", flat=True))


def test_entries_past_the_count_go_and_the_newest_stay() -> None:
    feed = make_feed(entries=10, retention_count=3)
    assert trim(feed.pk, NOON) == 7
    assert offsets(feed) == [8, 9, 10]
    assert trim(feed.pk, NOON) == 0


def test_entries_past_the_age_go() -> None:
    feed = make_feed(entries=10, every_s=60, retention_age_s=150)
    trim(feed.pk, NOON)
    assert offsets(feed) == [8, 9, 10]


def test_the_newest_entry_stays_however_old_it_is() -> None:
    feed = make_feed(entries=5, retention_age_s=10)
    trim(feed.pk, NOON + timedelta(days=400))
    assert offsets(feed) == [5]
    assert overfull(NOON + timedelta(days=400)) == []


def test_a_feed_without_own_limits_has_those_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = make_feed(entries=10)
    limits = retention.conf().model_copy(update={"retention_count": 6, "retention_age_s": 3.5})
    monkeypatch.setattr(retention, "conf", lambda: limits)
    trim(feed.pk, NOON)
    assert offsets(feed) == [7, 8, 9, 10]


def test_only_feeds_past_their_limits_are_looked_at() -> None:
    full = make_feed("full", entries=10, retention_count=3)
    old = make_feed("old", entries=10, retention_age_s=5)
    make_feed("small", entries=3, retention_count=3)
    make_feed("empty")
    assert overfull(NOON) == [full.pk, old.pk]


def test_a_feed_that_is_gone_needs_no_trimming() -> None:
    assert trim(1_000_000, NOON) == 0


def test_an_offset_is_never_used_again() -> None:
    feed = make_feed(entries=10, retention_count=1)
    trim(feed.pk, NOON)
    (written,) = commit([Write(feed.pk, data='"next"')])
    assert written.position.offset == 11  # type: ignore[union-attr]
    assert offsets(feed) == [10, 11]


async def test_trimming_takes_bounded_bites_until_nothing_is_left_to_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "BITE", 4)
    database = Database(threads=2)
    bites: list[int] = []
    write = database.write

    async def counted(*args: object) -> int:
        bites.append(await write(*args))  # type: ignore[arg-type]
        return bites[-1]

    monkeypatch.setattr(database, "write", counted)
    try:
        feed = await write(lambda: make_feed(entries=12, retention_count=2))
        assert await trim_all(database, NOON) == 10
        assert await database.read(offsets, feed) == [11, 12]
    finally:
        await database.aclose()
    assert bites == [4, 4, 2, 0]


async def test_publishing_and_trimming_at_the_same_time_leave_no_hole() -> None:
    database = Database(threads=4)

    async def publish(feed: Feed) -> None:
        for number in range(60):
            await database.write(commit, [Write(feed.pk, data=f'"more {number}"')])

    async def trim_often(feed: Feed) -> None:
        for _ in range(30):
            await trim_all(database, NOON)

    try:
        feed = await database.write(lambda: make_feed(entries=20, retention_count=5, retention_age_s=1e9))
        await asyncio.gather(publish(feed), trim_often(feed))
        await trim_all(database, NOON)
        assert await database.read(offsets, feed) == [76, 77, 78, 79, 80]
    finally:
        await database.aclose()
