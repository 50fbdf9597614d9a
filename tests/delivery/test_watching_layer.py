"""Watching while the layer is away: the journal is looked at instead, however seldom it is otherwise."""

from __future__ import annotations

import asyncio

import pytest

from realtime.delivery.watching import Delivery, Want
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds
from realtime.feeds.store import Write, commit

from .test_watching import Recorder

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_layer_that_goes_away_has_positions_compared_at_once(feeds: Feeds) -> None:
    delivery = Delivery(feeds, position_check_s=3600)
    feed = await feeds.database.write(lambda: Feed.objects.create(slug="feed", title="feed"))
    watcher = Recorder()
    try:
        await delivery.watch([Want(feed.pk, "feed")], watcher)
        await asyncio.sleep(0)
        await feeds.database.write(commit, [Write(feed.pk, '"unannounced"')])
        feeds.broker.away.set()
        await watcher.until(lambda: watcher.told() == [("snapshot", 0), ("update", 1)])
    finally:
        await delivery.aclose()
