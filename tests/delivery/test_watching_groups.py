"""Whoever watches a feed hears its group from then on, whoever else comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from realtime.delivery.watching import Delivery, Want
from realtime.feeds import broker as broker_module
from realtime.feeds.announcement import group_of
from realtime.feeds.broker import Broker
from realtime.feeds.runtime import Feeds
from realtime.feeds.store import Store
from tests.feeds.broking import FragileLayer, until

from .test_watching import Recorder, make_feed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def layer(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> FragileLayer:
    """The feeds' own. Nobody but watchers has groups joined, and what works is given up by no limit."""
    for name in ("ECHO_EVERY_S", "SILENCE_LIMIT_S", "LAYER_TIMEOUT_S", "JOIN_TIMEOUT_S"):
        monkeypatch.setattr(broker_module, name, 600)
    layer = FragileLayer()
    feeds.broker = Broker(layer, feeds.supervisor)
    feeds.store = Store(feeds.database, feeds.broker.announce)
    return layer


@pytest.fixture
async def delivery(feeds: Feeds, layer: FragileLayer) -> AsyncIterator[Delivery]:
    current = Delivery(feeds, position_check_s=3600)
    await until(lambda: len(layer.echoes) > 0)
    yield current
    await current.aclose()


async def test_who_comes_second_relies_on_no_join_of_one_that_gives_up(
    feeds: Feeds, delivery: Delivery, layer: FragileLayer
) -> None:
    feed_id = await make_feed(feeds)
    adding = layer.hang("group_add")
    first = asyncio.create_task(delivery.watch([Want(feed_id, "feed")], Recorder()))
    await until(lambda: layer.asked["group_add"] == 1)
    watcher = Recorder()
    second = asyncio.create_task(delivery.watch([Want(feed_id, "feed")], watcher))
    first.cancel()  # it hears of this in the next turn, behind the second's coming
    await asyncio.gather(first, return_exceptions=True)
    adding.set()
    await second
    assert group_of(feed_id) in layer.groups
    await feeds.store.publish(feed_id, 1)
    await watcher.until(lambda: watcher.told() == [("snapshot", 0), ("update", 1)])


async def test_a_group_that_is_joined_is_not_joined_again_for_those_who_come_later(
    feeds: Feeds, delivery: Delivery, layer: FragileLayer
) -> None:
    feed_id = await make_feed(feeds)
    for _ in range(3):
        await delivery.watch([Want(feed_id, "feed")], Recorder())
    assert layer.asked["group_add"] == 1
