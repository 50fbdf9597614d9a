from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from realtime.feeds import retention
from realtime.feeds.channels import note_use
from realtime.feeds.database import Database
from realtime.feeds.journal import snapshots
from realtime.feeds.models import Demand, Feed, JournalEntry
from realtime.feeds.retention import delete_all_unused, delete_unused, overfull, trim, trim_all, unused
from realtime.feeds.standing import want_again
from realtime.feeds.store import Write, commit

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def make_feed(slug: str = "quotes", *, entries: int = 0, every_s: float = 1, **fields: object) -> Feed:
    """A feed whose newest entry is from noon and whose others lie `every_s` apart before it."""
    feed: Feed = Feed.objects.create(slug=slug, title=slug, offset=entries, **fields)
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


def test_a_channels_newest_entry_goes_with_its_age_and_its_position_stays() -> None:
    channel = make_feed("chat:room", entries=5, every_s=60, retention_age_s=90, kind=Feed.Kind.CHANNEL)
    trim(channel.pk, NOON)
    assert offsets(channel) == [4, 5]
    late = NOON + timedelta(seconds=91)
    assert overfull(late) == [channel.pk]
    assert trim(channel.pk, late) == 2
    assert overfull(late) == []
    snapshot = snapshots([channel.pk])[channel.pk]
    assert (snapshot.offset, snapshot.data, snapshot.published_at) == (5, "null", None)
    (written,) = commit([Write(channel.pk, data='"next"', always=True)])
    assert written.position.offset == 6  # type: ignore[union-attr]


def test_a_channels_newest_entry_is_not_trimmed_by_its_count() -> None:
    channel = make_feed("chat:room", entries=5, retention_count=1, kind=Feed.Kind.CHANNEL)
    trim(channel.pk, NOON)
    assert offsets(channel) == [5]


def test_entries_of_the_same_moment_are_trimmed_together() -> None:
    feed = make_feed(entries=6, every_s=0, retention_age_s=10)
    feed.entries.filter(offset__lte=2).update(published_at=NOON - timedelta(seconds=60))
    trim(feed.pk, NOON)
    assert offsets(feed) == [3, 4, 5, 6]


def make_channel(slug: str, **ago_s: float) -> Feed:
    """A channel whose publications live for 60 s, and that was opened or published to that long ago."""
    times = {name: NOON - timedelta(seconds=seconds) for name, seconds in ago_s.items()}
    return make_feed(slug, entries=3, kind=Feed.Kind.CHANNEL, retention_age_s=60, **times)


DAY = 86_400


async def test_channels_that_nobody_uses_for_their_age_and_a_day_are_deleted() -> None:
    database = Database(threads=2)

    def make() -> None:
        make_feed("push", entries=1)
        make_channel("chat:unused", used_at=DAY + 61)
        make_channel("chat:silent", used_at=DAY + 61, last_ok_at=DAY + 61)
        make_channel("chat:opened", used_at=DAY + 59, last_ok_at=9 * DAY)
        make_channel("chat:published", used_at=9 * DAY, last_ok_at=DAY + 59)

    try:
        await database.write(make)
        assert await delete_all_unused(database, NOON) == 2
        left = await database.read(lambda: sorted(Feed.objects.values_list("slug", flat=True)))
        assert left == ["chat:opened", "chat:published", "push"]
    finally:
        await database.aclose()


def make_query(slug: str, wanted_ago_s: float) -> Feed:
    """A live query whose publications live for 60 s, and that was watched until that long ago."""
    feed = make_feed(slug, entries=3, kind=Feed.Kind.QUERY, retention_age_s=60)
    Demand.objects.create(feed=feed, base=slug, wanted_until=NOON - timedelta(seconds=wanted_ago_s))
    return feed


async def test_live_queries_that_nobody_watches_for_a_day_are_deleted() -> None:
    database = Database(threads=2)
    try:
        gone = await database.write(make_query, "query:gone", DAY + 61)
        await database.write(make_query, "query:watched", DAY - 1)
        assert await database.read(unused, NOON) == [gone.pk]
        assert await delete_all_unused(database, NOON) == 1
        assert await database.read(lambda: Feed.objects.get().slug) == "query:watched"
        assert await database.read(Demand.objects.count) == 1
    finally:
        await database.aclose()


def test_a_live_query_that_is_watched_again_meanwhile_is_not_deleted() -> None:
    feed = make_query("query:open", 2 * DAY)
    assert unused(NOON) == [feed.pk]
    want_again([feed.pk], NOON)
    assert delete_unused(feed.pk, NOON) == 0
    assert delete_unused(feed.pk, NOON + timedelta(days=2)) == 1


async def test_whoever_keeps_the_journal_trimmed_deletes_unused_channels_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "TRIM_EVERY_S", 0.01)
    database = Database(threads=2)
    await database.write(lambda: make_channel("chat:unused", used_at=2 * DAY))
    await database.write(lambda: make_feed("push", entries=9, retention_count=1))
    task = asyncio.create_task(retention.keep_trimmed(database))
    try:
        async with asyncio.timeout(30):
            rows = lambda: JournalEntry.objects.count() + Feed.objects.count()  # noqa: E731
            while await database.read(rows) > 2:  # noqa: ASYNC110 - what another task does
                await asyncio.sleep(0.01)
        assert await database.read(lambda: Feed.objects.get().slug) == "push"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await database.aclose()


def test_a_channel_that_was_used_a_moment_ago_is_not_deleted() -> None:
    channel = make_channel("chat:room", used_at=9 * DAY)
    assert unused(NOON) == [channel.pk]
    note_use([channel.pk], NOON)
    assert delete_unused(channel.pk, NOON) == 0
    feed = make_feed("push")
    assert delete_unused(feed.pk, NOON) == 0
    assert Feed.objects.count() == 2


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
