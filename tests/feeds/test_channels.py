"""How a channel's feed comes into being, follows its namespace, and is seen at the other doors."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from realtime.conf import Rules
from realtime.errors import Conflict, InvalidDraft, NotFound
from realtime.feeds import catalog, channels
from realtime.feeds.access import ANONYMOUS, Principal
from realtime.feeds.channels import find_channels, open_channel
from realtime.feeds.database import Database
from realtime.feeds.models import Feed
from realtime.feeds.runtime import publish
from tests.conftest import SetNamespaces

pytestmark = pytest.mark.usefixtures("set_namespaces")

MEMBER = Principal("user", 1, "member", frozenset({"read"}))
STAFF = Principal("user", 2, "staff", frozenset({"read", "publish", "manage"}))
READER = Principal("token", 1, "screen", frozenset({"read"}))
PUBLISHER = Principal("token", 2, "sensor", frozenset({"publish"}))


@pytest.mark.django_db
def test_a_channel_is_opened_with_its_namespaces_rules(set_namespaces: SetNamespaces) -> None:
    rules = Rules(subscribe="anybody", history_size=7, history_age_s=60)
    set_namespaces(chat=rules)
    assert find_channels(["chat:room"]) == {}
    channel = open_channel("chat:room")
    assert channel.rules == rules
    assert (channel.feed.slug, channel.feed.title, channel.feed.kind) == ("chat:room", "chat:room", "channel")
    assert (channel.feed.public, channel.feed.retention_count, channel.feed.retention_age_s) == (True, 7, 60)
    assert open_channel("chat:room") == channel
    assert find_channels(["chat:room"]) == {"chat:room": channel}


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["$chat:room", "chat:room#1"])
def test_a_channel_of_a_few_is_never_public(set_namespaces: SetNamespaces, text: str) -> None:
    set_namespaces(chat=Rules(subscribe="anybody"))
    assert not open_channel(text).feed.public


@pytest.mark.django_db
def test_the_longest_name_is_opened(set_namespaces: SetNamespaces) -> None:
    text = "chat:" + "x" * 250
    assert open_channel(text).feed.slug == text


@pytest.mark.django_db
def test_a_namespace_that_was_changed_is_taken_over_when_a_channel_is_opened(
    set_namespaces: SetNamespaces,
) -> None:
    before = open_channel("chat:room")
    position = publish("chat:room", 1)
    set_namespaces(chat=Rules(history_size=3))
    assert find_channels(["chat:room"]) == {}
    after = open_channel("chat:room")
    assert after.feed.id == before.feed.id
    assert after.feed.retention_count == 3
    assert find_channels(["chat:room"]) == {"chat:room": after}
    assert publish("chat:room", 2).epoch == position.epoch
    set_namespaces(other=Rules())
    assert find_channels(["chat:room"]) == {}
    with pytest.raises(NotFound):
        open_channel("chat:room")


@pytest.mark.django_db
def test_a_feed_is_a_channel_with_the_rules_of_its_row() -> None:
    made = catalog.create_feed("lab", public=True, presence=True, join_leave=True, client_publish=True)
    channel = open_channel("feed:lab")
    assert channel.feed == made
    assert channel.rules == Rules(
        subscribe="anybody",
        publish="subscribers",
        presence=True,
        join_leave="asked",
        history=True,
        history_size=channels.conf().retention_count,
        history_age_s=channels.conf().retention_age_s,
    )
    assert find_channels(["feed:lab"]) == {"feed:lab": channel}
    catalog.change_feed(
        "lab", public=False, join_leave=False, recovery="cache", retention_count=5, retention_age_s=60
    )
    rules = open_channel("feed:lab").rules
    assert (rules.subscribe, rules.mode, rules.history_size, rules.history_age_s) == ("token", "cache", 5, 60)
    with pytest.raises(NotFound):
        open_channel("feed:nothing")


@pytest.mark.django_db
def test_feeds_and_channels_are_never_taken_for_one_another(set_namespaces: SetNamespaces) -> None:
    set_namespaces(_=Rules())
    catalog.create_feed("lab")
    open_channel("news")
    assert set(find_channels(["lab", "feed:lab", "news", "feed:news"])) == {"feed:lab", "news"}
    with pytest.raises(NotFound):
        open_channel("feed:news")
    # A channel takes no feed's name, and no feed a channel's.
    assert open_channel("lab").feed.id != open_channel("feed:lab").feed.id
    assert catalog.create_feed("news").id != open_channel("news").feed.id


@pytest.mark.django_db
def test_many_channels_are_found_in_one_query(django_assert_num_queries: Any) -> None:
    catalog.create_feed("lab")
    for number in range(3):
        open_channel(f"chat:{number}")
    names = ["chat:0", "chat:2", "chat:9", "feed:lab", "nothing", 'no"name']
    with django_assert_num_queries(1):
        assert set(find_channels(names)) == {"chat:0", "chat:2", "feed:lab"}
    with django_assert_num_queries(0):
        assert find_channels(["nothing"]) == {}


@pytest.mark.django_db(transaction=True)
async def test_a_channel_that_many_processes_open_at_the_same_time_is_one_feed() -> None:
    processes = [Database(threads=4), Database(threads=4)]
    try:
        opened = await asyncio.gather(
            *(processes[turn % 2].write(open_channel, f"chat:{turn % 4}") for turn in range(40))
        )
        assert await processes[0].read(Feed.objects.count) == 4
        assert len({channel.feed.id for channel in opened}) == 4
    finally:
        for process in processes:
            await process.aclose()


@pytest.mark.django_db
def test_that_a_channel_is_used_is_noted_hourly() -> None:
    channel = open_channel("chat:room")

    def used_at(hours_ago: float) -> Any:
        moment = timezone.now() - timedelta(hours=hours_ago)
        Feed.objects.update(used_at=moment)
        return moment

    recent = used_at(0.9)
    open_channel("chat:room")
    assert find_channels(["chat:room"])
    assert Feed.objects.get().used_at == recent
    old = used_at(1.1)
    assert not find_channels(["chat:room"])
    assert Feed.objects.get().used_at == old
    open_channel("chat:room")
    assert Feed.objects.get().used_at > recent
    assert find_channels(["chat:room"])
    assert channels.unnoted([channel.feed.id], timezone.now()) == []
    used_at(1.1)
    assert channels.unnoted([channel.feed.id], timezone.now()) == [channel.feed.id]
    channels.note_use([channel.feed.id], timezone.now())
    assert channels.unnoted([channel.feed.id], timezone.now()) == []


@pytest.mark.django_db
def test_channels_are_in_no_list_but_their_own(set_namespaces: SetNamespaces) -> None:
    set_namespaces(chat=Rules(), open=Rules(subscribe="anybody"))
    catalog.create_feed("lab")
    open_channel("chat:room")
    open_channel("open:room")

    def listed(who: Principal, **which: str) -> list[str]:
        rows, total = catalog.readable_feeds(who, limit=10, **which)
        assert total == len(rows)
        return [row.ref.slug for row in rows]

    for who in (STAFF, READER, MEMBER):
        assert listed(who) == ["lab"]
        assert listed(who, search="room") == []
    for who in (STAFF, READER):
        assert listed(who, kind="channel") == ["chat:room", "open:room"]
        assert listed(who, kind="channel", search="chat") == ["chat:room"]
    for who in (MEMBER, ANONYMOUS, PUBLISHER):
        assert listed(who, kind="channel") == ["open:room"]


@pytest.mark.django_db
def test_a_channel_is_read_by_tokens_and_staff_and_not_by_every_member(
    set_namespaces: SetNamespaces,
) -> None:
    open_channel("chat:room#1")
    for who in (READER, STAFF):
        assert catalog.find_readable("chat:room#1", who).kind == "channel"
    for who in (MEMBER, ANONYMOUS, PUBLISHER):
        with pytest.raises(NotFound):
            catalog.find_readable("chat:room#1", who)


@pytest.mark.django_db
def test_a_channel_is_deleted_but_neither_made_nor_changed_as_a_feed() -> None:
    open_channel("chat:room")
    with pytest.raises(Conflict, match="HEADWATER_NAMESPACES"):
        catalog.change_feed("chat:room", title="Room")
    with pytest.raises(InvalidDraft, match="slug"):
        catalog.create_feed("chat:other")
    catalog.delete_feed("chat:room")
    assert not Feed.objects.exists()


@pytest.mark.django_db
def test_a_value_published_to_a_channel_again_is_a_publication_again() -> None:
    open_channel("chat:room")
    assert [publish("chat:room", "hello").offset for _ in range(3)] == [1, 2, 3]


@pytest.mark.django_db
@pytest.mark.usefixtures("shop")
def test_a_live_query_is_neither_found_nor_opened_as_a_channel() -> None:
    Feed.objects.create(slug="query:open?customer=42", title="Orders", kind=Feed.Kind.QUERY, public=True)
    assert find_channels(["query:open?customer=42"]) == {}
    with pytest.raises(NotFound):
        open_channel("query:open?customer=42")
