"""What a client gets that comes back: all that it missed, the newest value, or word that it is gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from realtime.feeds.models import Feed, JournalEntry
from realtime.feeds.position import new_epoch
from tests.conftest import SetNamespaces
from tests.delivery.conftest import House

from .talking import OPEN, connected


async def test_a_feed_that_is_reborn_is_told_as_insufficient_state(house: House) -> None:
    feed_id = await house.add_feed("lab", 0)
    one = await connected(house)
    await one.ask("subscribe", channel="feed:lab")

    def be_reborn() -> None:
        JournalEntry.objects.filter(feed_id=feed_id).delete()
        Feed.objects.filter(pk=feed_id).update(epoch=new_epoch(), offset=0, digest="")

    await house.feeds.database.write(be_reborn)
    await house.publish("lab", 1)
    push = (await one.read())["push"]
    assert (push["channel"], push["unsubscribe"]["code"]) == ("feed:lab", 2500)
    reply = await one.ask("subscribe", channel="feed:lab", recover=True, epoch="gone", offset=1)
    assert "recovered" not in reply["subscribe"]
    assert reply["subscribe"]["was_recovering"]


async def test_recovery_is_whole_or_refused(house: House, set_namespaces: SetNamespaces) -> None:
    set_namespaces(chat=replace(OPEN, history_size=3))
    one = await connected(house)
    begin = (await one.ask("subscribe", channel="chat:1"))["subscribe"]
    for number in range(6):
        await one.publish("chat:1", number)
    await one.ask("unsubscribe", channel="chat:1")
    asked = {"channel": "chat:1", "recover": True, "epoch": begin["epoch"]}
    got = (await one.ask("subscribe", **asked, offset=3))["subscribe"]
    assert (got["recovered"], got["offset"]) == (True, 3)
    assert [pub["data"] for pub in got["publications"]] == [3, 4, 5]
    await one.ask("unsubscribe", channel="chat:1")
    got = (await one.ask("subscribe", **asked, offset=2))["subscribe"]
    assert (got.get("recovered"), got.get("publications"), got["offset"]) == (None, None, 6)
    await one.ask("unsubscribe", channel="chat:1")
    refused = await one.ask("subscribe", **asked, offset=2, flag=2)
    assert refused["error"]["code"] == 112
    # Nothing is left of what was refused.
    assert "subscribe" in await one.ask("subscribe", channel="chat:1")


async def test_who_wants_all_is_told_when_each_value_was_published(
    house: House, set_namespaces: SetNamespaces
) -> None:
    set_namespaces(chat=OPEN)
    for data, tagged in (({"full": True}, True), ({}, False)):
        one = await connected(house)
        await one.ask("subscribe", channel="chat:1", data=data)
        await one.publish("chat:1", 1)
        past = (await one.ask("history", channel="chat:1", limit=-1))["history"]["publications"]
        assert past
        assert all(("published_at" in pub.get("tags", {})) is tagged for pub in past)


@pytest.mark.parametrize("how", ["trimmed", "too old"])
async def test_a_cached_channel_whose_value_is_forgotten_comes_without_one(
    house: House, set_namespaces: SetNamespaces, how: str
) -> None:
    set_namespaces(chat=replace(OPEN, mode="cache"))
    one = await connected(house)
    assert "publications" not in (await one.ask("subscribe", channel="chat:1"))["subscribe"]
    await one.publish("chat:1", 7)
    await one.ask("unsubscribe", channel="chat:1")
    recover = {"channel": "chat:1", "recover": True}
    assert (await one.ask("subscribe", **recover))["subscribe"]["publications"][0]["data"] == 7
    await one.ask("unsubscribe", channel="chat:1")
    entries = JournalEntry.objects.all()
    old = timezone.now() - timedelta(seconds=OPEN.history_age_s + 1)
    await house.feeds.database.write(
        entries.delete if how == "trimmed" else lambda: entries.update(published_at=old)
    )
    got = (await one.ask("subscribe", **recover))["subscribe"]
    assert "publications" not in got
    assert got["offset"] == 1
