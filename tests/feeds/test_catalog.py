"""The catalog of feeds: what is refused by name, what is changed, and whom a feed exists for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps

from realtime.errors import Conflict, InvalidDraft, NotFound
from realtime.feeds import catalog
from realtime.feeds.access import ANONYMOUS, Principal
from realtime.feeds.models import Feed, JournalEntry
from realtime.feeds.runtime import publish

pytestmark = pytest.mark.django_db

MEMBER = Principal("user", 1, "member", frozenset({"read"}))
PUBLISHER = Principal("token", 1, "sensor", frozenset({"publish"}))
MANAGER = Principal("token", 2, "deploy", frozenset({"manage"}))


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_saved() -> None:
    with pytest.raises(InvalidDraft) as refused:
        catalog.create_feed("No!", title="x" * 201, retention_count=0, retention_age_s=float("nan"))
    assert list(refused.value.problems) == ["slug", "title", "retention_count", "retention_age_s"]
    assert refused.value.field == "slug"
    assert not Feed.objects.exists()


@pytest.mark.parametrize(
    "slug", ["", "new", "a b", "-a", "a-", "A", "ä", "a\n", "a/b", "a\x00", "a" * 101, "..", "٣"]
)
def test_a_name_that_makes_no_address_is_refused(slug: str) -> None:
    with pytest.raises(InvalidDraft, match="slug"):
        catalog.create_feed(slug)


@pytest.mark.parametrize("slug", ["a", "7", "a-b_c", "a" * 100, "newest"])
def test_a_name_that_makes_an_address_is_taken(slug: str) -> None:
    feed = catalog.create_feed(slug, title="  ")
    assert (feed.slug, feed.title, feed.kind, feed.public) == (slug, slug, "push", False)


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "a\x07"},
        {"title": "\ud800"},
        {"retention_count": -1},
        {"retention_count": 2**31},
        {"retention_age_s": 0.0},
        {"retention_age_s": float("inf")},
        {"retention_age_s": 1e300},
        {"join_leave": True},
        {"recovery": "never"},
    ],
)
def test_a_wrong_change_is_refused_by_name_and_changes_nothing(fields: dict[str, Any]) -> None:
    before = catalog.create_feed("lab", title="Lab")
    with pytest.raises(InvalidDraft) as refused:
        catalog.change_feed("lab", public=True, **fields)
    assert list(refused.value.problems) == list(fields)
    assert catalog.find_feed("lab") == before


def test_a_change_leaves_position_and_journal_alone() -> None:
    catalog.create_feed("lab")
    position = publish("lab", 1)
    catalog.change_feed("lab", title="Lab", retention_count=3, latest_only=True)
    feed = Feed.objects.get(slug="lab")
    assert (feed.title, feed.retention_count, feed.latest_only) == ("Lab", 3, True)
    assert (feed.epoch, feed.offset) == (position.epoch, 1)


def test_a_taken_name_is_a_conflict_and_leaves_the_transaction_usable() -> None:
    catalog.create_feed("lab")
    with pytest.raises(Conflict, match="lab exists already"):
        catalog.create_feed("lab")
    assert Feed.objects.count() == 1


def test_a_deleted_feed_takes_its_journal_with_it() -> None:
    catalog.create_feed("lab")
    publish("lab", 1)
    catalog.delete_feed("lab")
    assert not JournalEntry.objects.exists()
    with pytest.raises(NotFound):
        catalog.delete_feed("lab")


def test_a_feed_reborn_under_its_old_name_has_a_new_epoch() -> None:
    catalog.create_feed("lab")
    before = publish("lab", 1)
    catalog.delete_feed("lab")
    catalog.create_feed("lab")
    assert publish("lab", 1).epoch != before.epoch


def test_a_feed_that_a_source_fills_is_deleted_with_its_source_only() -> None:
    Feed.objects.create(slug="polled", title="Polled", kind=Feed.Kind.SOURCE)
    with pytest.raises(Conflict, match="source"):
        catalog.delete_feed("polled")


def test_clients_publish_to_push_feeds_only() -> None:
    polled = Feed.objects.create(slug="polled", title="Polled", kind=Feed.Kind.SOURCE)
    with pytest.raises(InvalidDraft, match="client_publish: Only for push feeds"):
        catalog.change_feed("polled", client_publish=True)
    assert not Feed.objects.get(pk=polled.pk).client_publish
    made = catalog.create_feed("lab", presence=True, join_leave=True, client_publish=True, recovery="cache")
    assert (made.presence, made.join_leave, made.client_publish, made.recovery) == (True, True, True, "cache")
    assert catalog.find_feed("lab") == made


def test_feeds_that_sources_fill_already_begin_with_recovery_by_the_newest_value() -> None:
    for kind in ("source", "push"):
        Feed.objects.create(slug=kind, title=kind, kind=kind)
    migration = import_module("realtime.migrations.0004_sdk_rules")
    migration.recover_by_the_newest_value(apps, None)
    assert dict(Feed.objects.values_list("slug", "recovery")) == {"source": "cache", "push": "stream"}


def test_a_private_feed_is_as_unknown_as_one_that_does_not_exist() -> None:
    catalog.create_feed("lab")
    catalog.create_feed("weather", public=True)
    for principal in (ANONYMOUS, PUBLISHER):
        messages = set()
        for slug in ("lab", "nothing", "\x00"):
            with pytest.raises(NotFound) as refused:
                catalog.find_readable(slug, principal)
            messages.add(refused.value.message)
        assert len(messages) == 1
        assert catalog.find_readable("weather", principal).slug == "weather"
    for principal in (MEMBER, MANAGER):
        assert catalog.find_readable("lab", principal).slug == "lab"


def test_many_feeds_are_found_in_one_query(django_assert_num_queries: Any) -> None:
    for slug in ("a", "b", "c"):
        catalog.create_feed(slug)
    with django_assert_num_queries(1):
        found = catalog.find_feeds(["a", "c", "nothing", "No!", "\x00"])
    assert set(found) == {"a", "c"}


def test_a_list_is_two_queries_whatever_its_length(django_assert_num_queries: Any) -> None:
    for number in range(20):
        catalog.create_feed(f"feed-{number}", public=number % 2 == 0)
    with django_assert_num_queries(2):
        rows, total = catalog.readable_feeds(ANONYMOUS, limit=5)
    assert (len(rows), total) == (5, 10)
