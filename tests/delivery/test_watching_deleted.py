"""A feed that is deleted while it is watched: its watchers are told once, and nothing of it stays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime.delivery.watching import Delivery, Want
from realtime.feeds.announcement import group_of
from realtime.feeds.broker import Broker
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds
from tests.feeds.broking import FragileLayer, until

from .test_watching import Recorder, delivery, make_feed

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["delivery"]


async def test_who_joins_while_a_catch_up_finds_the_feed_gone_is_told_so_once(
    feeds: Feeds, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, lives = await make_feed(feeds, "gone"), await make_feed(feeds, "lives")
    here, joining = Recorder(), Recorder()
    await delivery.watch([Want(gone, "gone")], here)
    starts, may_read = asyncio.Event(), asyncio.Event()
    real = delivery._load_snapshots

    async def late(feed_ids: Any) -> Any:
        starts.set()
        await may_read.wait()
        return await real(feed_ids)

    monkeypatch.setattr(delivery._snapshots, "_load", late)
    watching = asyncio.create_task(delivery.watch([Want(gone, "gone"), Want(lives, "lives")], joining))
    async with asyncio.timeout(30):
        await starts.wait()
    await feeds.database.write(Feed.objects.filter(pk=gone).delete)
    await joining.until(lambda: kinds(joining, "gone") == ["gone"])
    may_read.set()
    await watching
    assert kinds(joining, "gone") == kinds(here, "gone")[-1:] == ["gone"]
    await feeds.store.publish(lives, 1)
    await joining.until(lambda: joining.told("lives") == [("snapshot", 0), ("update", 1)])


async def test_the_group_of_a_feed_that_is_gone_is_left(feeds: Feeds) -> None:
    layer = FragileLayer()
    feeds.broker = Broker(layer, feeds.supervisor)
    delivery = Delivery(feeds, position_check_s=0.2)
    try:
        feed_id = await make_feed(feeds)
        watcher = Recorder()
        watch = await delivery.watch([Want(feed_id, "feed")], watcher)
        assert group_of(feed_id) in layer.groups
        await feeds.database.write(Feed.objects.filter(pk=feed_id).delete)
        await watcher.until(lambda: kinds(watcher, "feed")[-1] == "gone")
        watch.leave()
        await until(lambda: group_of(feed_id) not in layer.groups)
    finally:
        await delivery.aclose()


def kinds(watcher: Recorder, slug: str) -> list[str]:
    return [event.kind for event in watcher.events if event.slug == slug]
