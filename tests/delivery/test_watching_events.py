"""What starts and updates carry for protocols that recover and encode in their own way."""

from __future__ import annotations

import pytest

from realtime.delivery import missed
from realtime.delivery.watching import Delivery, Want
from realtime.feeds.position import Position
from realtime.feeds.runtime import Feeds
from tests.delivery.test_watching import Recorder, delivery, make_feed, position_of

__all__ = ["delivery"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("since", [2, 3])
async def test_who_missed_more_than_its_reach_is_reset(feeds: Feeds, delivery: Delivery, since: int) -> None:
    feed_id = await make_feed(feeds)
    for value in range(5):
        await feeds.store.publish(feed_id, value)
    watcher = Recorder()
    # An empty epoch is whichever is the present one.
    await delivery.watch([Want(feed_id, "feed", Position("", since), reach=2)], watcher)
    assert watcher.told() == ([("reset", 5)] if since == 2 else [("update", 4), ("update", 5)])
    assert delivery.epoch(feed_id) == (await position_of(feeds, feed_id)).epoch


async def test_an_update_knows_the_value_before_it(
    feeds: Feeds, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "PAGE", 2)
    feed_id = await make_feed(feeds)
    for value in range(5):
        await feeds.store.publish(feed_id, value)
    epoch = (await position_of(feeds, feed_id)).epoch
    watcher, late = Recorder(), Recorder()
    await delivery.watch([Want(feed_id, "feed", Position(epoch, 2))], watcher)
    await delivery.watch([Want(feed_id, "feed")], late)
    await feeds.store.publish(feed_id, 5)
    await watcher.until(lambda: len(watcher.told()) == 4)
    updates = [event for event in watcher.events if event.kind == "update"]
    # Of the first that one page holds, it is not known.
    assert [event.before for event in updates] == [None, "2", None, "4"]
    await late.until(lambda: len(late.told()) == 2)
    assert late.events[-1].before == "4"
