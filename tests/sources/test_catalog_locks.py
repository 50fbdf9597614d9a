"""A change of a source against what is saved for its feeds at the same time. On PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest
from django.db import transaction
from django.utils import timezone

from realtime.feeds.feed_rows import lock
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds
from realtime.feeds.store import Health, Write, commit
from realtime.sources.catalog import FeedDraft, SourceDraft, change_source, create_source
from tests.held_unit import HeldUnit
from tests.lock_waits import someone_waits
from tests.sources.polling import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.only("postgresql")]


def draft(*slugs: str) -> SourceDraft:
    return SourceDraft("price", "https://upstream.example/", feeds=tuple(map(FeedDraft, slugs)))


async def test_a_change_takes_the_feeds_in_the_stores_order_and_not_in_the_drafts(feeds: Feeds) -> None:
    await feeds.database.write(create_source, draft("a", "b"))
    ids = await feeds.database.read(lambda: list(Feed.objects.order_by("pk").values_list("pk", flat=True)))
    held, now = HeldUnit(), timezone.now()

    def batch() -> None:
        with transaction.atomic():
            lock(ids[:1])
            held()
            commit([Write(feed_id, "1", Health("fresh", now, now)) for feed_id in ids])

    saving = asyncio.create_task(feeds.database.write(batch))
    await held.begun()
    changing = asyncio.create_task(feeds.database.write(change_source, "price", draft("b", "a")))
    await until(feeds.database, someone_waits)
    held.let_go()
    await asyncio.gather(saving, changing)
    # A kept feed is as good as the batch has made it meanwhile.
    kept = await feeds.database.read(lambda: list(Feed.objects.values_list("offset", "state")))
    assert kept == [(1, "fresh"), (1, "fresh")]
