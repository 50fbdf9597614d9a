"""What callers have given up is settled before others write in their place."""

from __future__ import annotations

import asyncio
import json

import pytest

from realtime.feeds import journal, store
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds
from tests.held_unit import HeldUnit

pytestmark = pytest.mark.django_db(transaction=True)


def values(feed_id: int) -> list[object]:
    return [json.loads(each.data) for each in journal.history(feed_id, limit=9)]


async def test_what_is_given_up_and_still_waits_is_dropped_and_what_has_begun_is_waited_for(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed_id = await feeds.database.write(lambda: Feed.objects.create(slug="feed", title="feed").pk)
    held = HeldUnit(store.commit)
    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", held)
        begun = asyncio.create_task(feeds.store.publish(feed_id, "begun"))
        await held.begun()
    given_up = asyncio.create_task(feeds.store.publish(feed_id, "given up"))
    wanted = asyncio.create_task(feeds.store.publish(feed_id, "wanted"))
    await asyncio.sleep(0)  # both wait now
    for each in (begun, given_up):
        each.cancel()
    await asyncio.gather(begun, given_up, return_exceptions=True)
    settled = asyncio.create_task(feeds.store.settled())
    await asyncio.sleep(0)
    assert not settled.done()
    held.let_go()
    await settled
    assert (await feeds.database.read(values, feed_id))[0] == "begun"
    await wanted
    assert await feeds.database.read(values, feed_id) == ["begun", "wanted"]


async def test_giving_up_waiting_for_it_ends_nothing(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    feed_id = await feeds.database.write(lambda: Feed.objects.create(slug="feed", title="feed").pk)
    await feeds.store.settled()  # nothing was ever written
    held = HeldUnit(store.commit)
    monkeypatch.setattr(store, "commit", held)
    publishing = asyncio.create_task(feeds.store.publish(feed_id, 1))
    await held.begun()
    settled = asyncio.create_task(feeds.store.settled())
    await asyncio.sleep(0)
    settled.cancel()
    await asyncio.gather(settled, return_exceptions=True)
    held.let_go()
    assert (await publishing).position.offset == 1
