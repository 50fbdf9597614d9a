"""A channel that somebody watches is never taken for an unused one."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from realtime.delivery.watching import Delivery, Want
from realtime.feeds import channels
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds
from tests.delivery.test_watching import Recorder

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = timezone.now() - timedelta(days=9)


def make_channel(slug: str) -> int:
    return Feed.objects.create(slug=slug, title=slug, kind=Feed.Kind.CHANNEL, used_at=LONG_AGO).pk


def used_at(feed_id: int) -> datetime | None:
    return Feed.objects.get(pk=feed_id).used_at


async def test_what_is_watched_is_kept_in_use(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "KEPT_EVERY_S", 0.01)
    delivery = Delivery(feeds, position_check_s=60)
    try:
        watched = await feeds.database.write(make_channel, "chat:watched")
        other = await feeds.database.write(make_channel, "chat:other")
        await delivery.watch([Want(watched, "chat:watched")], Recorder())
        async with asyncio.timeout(30):
            while await feeds.database.read(used_at, watched) == LONG_AGO:  # noqa: ASYNC110 - a row
                await asyncio.sleep(0.01)
        assert await feeds.database.read(used_at, other) == LONG_AGO
    finally:
        await delivery.aclose()
