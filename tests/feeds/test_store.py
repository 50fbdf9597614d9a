"""The store: offsets without holes, one transaction for all that wait, none announced before its commit."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from realtime.errors import BadInput, NotFound, TooLarge, Unavailable
from realtime.feeds import journal, publish, store
from realtime.feeds.announcement import Announcement
from realtime.feeds.feed_rows import lock
from realtime.feeds.models import Feed, JournalEntry
from realtime.feeds.runtime import Feeds
from realtime.feeds.store import Health, Store, Write, Written, commit

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)

pytestmark = pytest.mark.django_db(transaction=True)


async def make_feed(feeds: Feeds, slug: str = "feed") -> int:
    return await feeds.database.write(lambda: Feed.objects.create(slug=slug, title=slug).pk)


def offsets(feed_id: int) -> list[int]:
    return list(JournalEntry.objects.filter(feed_id=feed_id).values_list("offset", flat=True))


async def test_offsets_count_from_one_without_holes(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    positions = [(await feeds.store.publish(feed_id, value)).position.offset for value in "abc"]
    assert positions == [1, 2, 3]
    assert await feeds.database.read(offsets, feed_id) == [1, 2, 3]


async def test_concurrent_publications_share_transactions_and_keep_their_order(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed_id = await make_feed(feeds)
    batches: list[int] = []
    real = store.commit

    def counting(writes: list[Write]) -> object:
        batches.append(len(writes))
        return real(writes)

    monkeypatch.setattr(store, "commit", counting)
    written = await asyncio.gather(*(feeds.store.publish(feed_id, value) for value in range(300)))
    assert [each.position.offset for each in written] == list(range(1, 301))
    assert sum(batches) == 300
    assert len(batches) <= 3, batches


async def test_an_unchanged_value_is_no_publication_but_its_freshness_is_recorded(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    first = await feeds.store.publish(feed_id, {"a": 1})
    second = await feeds.store.publish(feed_id, {"a": 1})
    assert first.publication is not None
    assert second.publication is None
    assert second.position == first.position
    assert second.status is not None
    assert second.status.last_ok_at is not None
    assert await feeds.database.read(offsets, feed_id) == [1]


async def test_a_value_that_must_always_be_told_is_a_publication_each_time(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    for offset in (1, 2):
        written = await feeds.store.publish(feed_id, "hello", always=True)
        assert written.publication is not None
        assert written.position.offset == offset
    assert (await feeds.store.publish(feed_id, "hello")).publication is None
    assert await feeds.database.read(offsets, feed_id) == [1, 2]


async def test_who_published_and_the_tags_are_kept_and_told_with_the_value(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    told: list[Announcement] = []
    own = Store(feeds.database, told.append)
    info, tags = '{"client":"c1","user":"ü"}', '{"a":"1"}'
    first = await own.write(Write(feed_id, "1", info=info, tags=tags))
    second = await own.write(Write(feed_id, "2"))
    publications = [first.publication, second.publication]
    assert [(p.info, p.tags) for p in publications if p] == [(info, tags), ("", "")]
    assert [p for each in told for p in each.publications] == publications
    epoch = first.position.epoch
    assert await feeds.database.read(journal.entries_after, feed_id, epoch, 0, 10) == publications
    assert await feeds.database.read(lambda: journal.history(feed_id, limit=9)) == publications
    snapshot = (await feeds.database.read(journal.snapshots, [feed_id]))[feed_id]
    assert (snapshot.info, snapshot.tags) == ("", "")
    await own.write(Write(feed_id, "3", info=info, tags=tags))
    snapshot = (await feeds.database.read(journal.snapshots, [feed_id]))[feed_id]
    assert (snapshot.data, snapshot.info, snapshot.tags) == ("3", info, tags)


async def test_null_is_a_value_like_any_other(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    assert (await feeds.store.publish(feed_id, None)).position.offset == 1


async def test_a_change_of_state_is_told_together_with_the_update(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    failing = await feeds.store.write(Write(feed_id, health=Health("failing", None, None, "HTTP 500")))
    assert failing.status is not None
    assert failing.status.state == "failing"
    good = await feeds.store.write(Write(feed_id, "1", Health("fresh", timezone.now(), None)))
    assert good.publication is not None
    assert good.status is not None
    again = await feeds.store.write(Write(feed_id, "2", Health("fresh", timezone.now(), None)))
    assert again.publication is not None
    assert again.status is None, "the update itself says that the feed is fresh"


def test_a_value_without_health_leaves_the_health_as_it_was() -> None:
    feed = Feed.objects.create(slug="lab", title="Lab")
    health = Health("stale", NOON, NOON, "late")
    commit([Write(feed.pk, "1", health)])
    commit([Write(feed.pk, "2")])
    feed.refresh_from_db()
    assert (feed.offset, Health(feed.state, feed.last_ok_at, feed.next_poll_at, feed.error)) == (2, health)


def test_rows_are_locked_in_the_order_of_ids_wherever_they_lie() -> None:
    first, second = [Feed.objects.create(slug=slug, title=slug) for slug in ("a", "b")]
    Feed.objects.filter(pk=first.pk).update(title="moved")  # PostgreSQL writes it anew, behind the other
    with transaction.atomic():
        assert list(lock([second.pk, first.pk])) == [first.pk, second.pk]


def test_nothing_to_write_is_nothing() -> None:
    assert commit([]) == []


async def test_a_feed_that_is_gone_fails_alone(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    good, bad = await asyncio.gather(
        feeds.store.publish(feed_id, 1), feeds.store.publish(10**9, 1), return_exceptions=True
    )
    assert not isinstance(good, BaseException)
    assert isinstance(bad, NotFound)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": {1, 2}}, "\ud800", b"bytes"])
async def test_what_json_cannot_say_names_the_field_and_saves_nothing(feeds: Feeds, value: object) -> None:
    feed_id = await make_feed(feeds)
    with pytest.raises(BadInput) as error:
        await feeds.store.publish(feed_id, value)
    assert error.value.field == "data"
    assert await feeds.database.read(offsets, feed_id) == []


async def test_deep_nesting_is_bad_input(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    value: object = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(BadInput, match="nested too deeply"):
        await feeds.store.publish(feed_id, value)
    while isinstance(value, list):  # taken apart by hand: the interpreter would recurse
        value = value.pop()


async def test_a_value_over_the_limit_is_too_large(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    with pytest.raises(TooLarge):
        await feeds.store.publish(feed_id, "x" * 1_000_000)


async def test_nothing_is_announced_before_it_is_committed(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    seen: list[tuple[int, list[int]]] = []

    def committed() -> list[int]:
        try:
            return offsets(feed_id)
        finally:
            connection.close()

    def announce(announcement: Announcement) -> None:
        # Another thread has another connection, which sees only what was committed.
        with ThreadPoolExecutor(1) as elsewhere:
            seen.append((announcement.publications[-1].offset, elsewhere.submit(committed).result()))

    own = Store(feeds.database, announce)
    await own.publish(feed_id, "a")
    await own.publish(feed_id, "b")
    assert seen == [(1, [1]), (2, [1, 2])]


async def test_a_database_that_fails_is_unavailable_and_the_next_publication_works(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed_id = await make_feed(feeds)

    def broken(writes: list[Write]) -> object:
        raise OperationalError("server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", broken)
        with pytest.raises(Unavailable):
            await feeds.store.publish(feed_id, 1)
    assert (await feeds.store.publish(feed_id, 1)).position.offset == 1


async def test_what_nobody_foresaw_fails_its_own_transaction_and_not_those_that_wait(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed_id = await make_feed(feeds)
    real = store.commit

    def broken_for_one(writes: list[Write]) -> object:
        if writes[0].data == "1":
            raise RuntimeError("a mistake of ours")
        return real(writes)

    monkeypatch.setattr(store, "BATCH_LIMIT", 1)
    monkeypatch.setattr(store, "commit", broken_for_one)
    async with asyncio.timeout(30):
        results = await asyncio.gather(
            *(feeds.store.publish(feed_id, value) for value in range(4)), return_exceptions=True
        )
    assert [type(result) for result in results] == [Written, Unavailable, Written, Written]


async def test_a_caller_that_gives_up_does_not_lose_what_it_published(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    task = asyncio.create_task(feeds.store.publish(feed_id, 1))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await feeds.store.publish(feed_id, 2)).position.offset == 2


def test_publishing_from_sync_code_is_part_of_its_transaction() -> None:
    feed = Feed.objects.create(slug="sync", title="sync")
    with transaction.atomic():
        publish("sync", 1)
        transaction.set_rollback(True)
    assert offsets(feed.pk) == []
    assert publish("sync", 2).offset == 1


def test_publishing_to_a_feed_that_does_not_exist_names_it() -> None:
    with pytest.raises(NotFound) as error:
        publish("nothing", 1)
    assert error.value.field == "feed"


def test_a_snapshot_is_one_query_for_any_number_of_feeds(django_assert_num_queries: object) -> None:
    ids = [Feed.objects.create(slug=f"f{n}", title="f").pk for n in range(5)]
    commit([Write(feed_id, f'"{feed_id}"') for feed_id in ids for _ in range(2)])
    commit([Write(ids[0], "3")])
    with django_assert_num_queries(1):  # type: ignore[operator]
        snapshots = journal.snapshots([*ids, 10**9])
    assert sorted(snapshots) == ids
    assert (snapshots[ids[0]].offset, snapshots[ids[0]].data) == (2, "3")
    assert snapshots[ids[1]].data == f'"{ids[1]}"'


def test_a_feed_without_publications_is_null_at_offset_zero() -> None:
    feed = Feed.objects.create(slug="empty", title="empty")
    snapshot = journal.snapshots([feed.pk])[feed.pk]
    assert (snapshot.offset, snapshot.data, snapshot.published_at) == (0, "null", None)


def test_history_is_read_forwards_from_a_position_and_backwards_without() -> None:
    feed = Feed.objects.create(slug="history", title="history")
    for value in range(1, 6):
        commit([Write(feed.pk, str(value))])
    feed.refresh_from_db()
    newest = journal.history(feed.pk, limit=2)
    assert [each.offset for each in newest] == [4, 5]
    from realtime.feeds.position import Position

    next_ones = journal.history(feed.pk, limit=2, since=Position(feed.epoch, 1))
    assert [each.offset for each in next_ones] == [2, 3]
    assert journal.history(feed.pk, limit=2, since=Position("other", 1)) == []
    with pytest.raises(NotFound):
        journal.history(10**9, limit=2)
