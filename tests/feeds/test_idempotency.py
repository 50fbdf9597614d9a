"""Publications with a key: made once, whoever asks for them again, on whichever process."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from realtime.feeds.idempotency import KEPT_S, forget_old
from realtime.feeds.models import Feed, IdempotencyKey
from realtime.feeds.runtime import Feeds
from realtime.feeds.store import Write, commit
from tests.feeds.test_store import make_feed, offsets
from tests.held_unit import HeldUnit
from tests.lock_waits import someone_waits

pytestmark = pytest.mark.django_db(transaction=True)


def keyed(feed_id: int, data: str, key: str = "k") -> Write:
    return Write(feed_id, data, always=True, key=key)


def grow_old() -> None:
    IdempotencyKey.objects.update(made_at=timezone.now() - timedelta(seconds=KEPT_S + 1))


async def test_a_repeated_publication_comes_to_the_first_ones_position_and_is_not_made(feeds: Feeds) -> None:
    feed_id, other = await make_feed(feeds, "one"), await make_feed(feeds, "two")
    first = await feeds.store.write(keyed(feed_id, "1"))
    await feeds.store.write(Write(feed_id, "2"))
    again = await feeds.store.write(keyed(feed_id, '"whatever"'))
    assert first.publication is not None
    assert (again.publication, again.position) == (None, first.position)
    assert (await feeds.store.write(keyed(feed_id, "3", "another"))).position.offset == 3
    assert (await feeds.store.write(keyed(other, "4"))).position.offset == 1
    assert await feeds.database.read(offsets, feed_id) == [1, 2, 3]


async def test_retries_at_the_same_time_make_one_publication(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    writes = [keyed(feed_id, "1", key) for key in ("a", "b") for _ in range(20)]
    written = await asyncio.gather(*(feeds.store.write(write) for write in writes))
    assert {each.position.offset for each in written[:20]} == {written[0].position.offset}
    assert await feeds.database.read(offsets, feed_id) == [1, 2]


async def test_two_processes_make_one_publication(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    commits = (feeds.database.read(commit, [keyed(feed_id, "1", "a" * 5000)]) for _ in range(4))
    results = await asyncio.gather(*commits)
    assert sum(result.publication is not None for (result,) in results) == 1
    assert await feeds.database.read(offsets, feed_id) == [1]


async def test_a_key_is_forgotten_after_five_minutes_and_may_be_used_again(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    await feeds.store.write(keyed(feed_id, "1"))

    await feeds.database.write(grow_old)
    assert (await feeds.store.write(keyed(feed_id, "1"))).position.offset == 2
    assert (await feeds.store.write(keyed(feed_id, "1"))).position.offset == 2
    await feeds.store.write(keyed(feed_id, "1", "young"))
    await feeds.database.write(grow_old)
    await feeds.store.write(keyed(feed_id, "1", "younger"))
    assert await feeds.database.write(forget_old, timezone.now()) == 2
    assert await feeds.database.write(forget_old, timezone.now()) == 0
    assert await feeds.database.read(IdempotencyKey.objects.count) == 1


@pytest.mark.only("postgresql")
async def test_a_key_that_is_used_again_while_old_ones_are_forgotten_is_kept(feeds: Feeds) -> None:
    feed_id = await make_feed(feeds)
    await feeds.store.write(keyed(feed_id, "1"))
    await feeds.database.write(grow_old)
    held = HeldUnit()

    def use_again() -> None:
        with transaction.atomic():
            commit([keyed(feed_id, "2")])
            held()

    using = asyncio.create_task(feeds.database.write(use_again))
    await held.begun()
    forgetting = asyncio.create_task(feeds.database.write(forget_old, timezone.now()))
    while not forgetting.done() and not await feeds.database.read(someone_waits):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    held.let_go()
    await using
    assert await forgetting == 0
    assert (await feeds.store.write(keyed(feed_id, "2"))).position.offset == 2


async def test_a_publication_that_is_not_committed_leaves_no_key(feeds: Feeds) -> None:
    gone = await make_feed(feeds, "gone")
    await feeds.database.write(lambda: Feed.objects.filter(pk=gone).delete())
    await asyncio.gather(feeds.store.write(keyed(gone, "1")), return_exceptions=True)
    assert await feeds.database.read(IdempotencyKey.objects.count) == 0
