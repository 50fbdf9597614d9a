"""The catalog of sources: what is refused by name, and what a change does to feeds, schedule and secrets."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from realtime.errors import Conflict, InvalidDraft, NotFound
from realtime.feeds.catalog import change_feed, create_feed
from realtime.feeds.models import Feed
from realtime.feeds.runtime import write_now
from realtime.feeds.store import Health, Write
from realtime.sources import catalog
from realtime.sources.catalog import FeedDraft, SourceDraft
from realtime.sources.models import Extraction, Source

pytestmark = pytest.mark.django_db

NAN, INF = float("nan"), float("inf")
PRICE = SourceDraft("price", "https://upstream.example/v1?a=b", feeds=(FeedDraft("price", expression="usd"),))


def test_a_source_is_kept_as_it_was_written_down_and_is_due_at_once() -> None:
    draft = SourceDraft(
        "price",
        "https://upstream.example/",
        "Price",
        "POST",
        "{}",
        {"Accept": "application/json"},
        {},
        2.5,
        0.1,
        "csv",
        True,
        (FeedDraft("eur", "EUR", "[0].eur", True), FeedDraft("usd", "USD")),
    )
    source = catalog.create_source(draft)
    row = catalog.read_source("price")
    assert row.draft == draft
    assert row.next_poll_at is not None
    assert row.next_poll_at <= timezone.now()
    assert source.pk == Source.objects.get().pk
    assert set(Feed.objects.values_list("slug", "kind", "state", "recovery")) == {
        ("eur", "source", "stale", "cache"),
        ("usd", "source", "stale", "cache"),
    }


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_saved() -> None:
    draft = SourceDraft(
        "Price!",
        "ftp://upstream.example/",
        "x" * 201,
        "PUT",
        "",
        {"Bad name": "x"},
        {"Authorization": "a\r\nb"},
        NAN,
        0,
        "xml",
        True,
        (FeedDraft("a", "\x00", "a ||"), FeedDraft("a"), FeedDraft("new")),
    )
    with pytest.raises(InvalidDraft) as refused:
        catalog.create_source(draft)
    assert set(refused.value.problems) == {
        *("slug", "url", "title", "method", "headers", "secret_headers", "interval_s", "timeout_s", "format"),
        *("feeds.0.title", "feeds.0.expression", "feeds.1.slug", "feeds.2.slug"),
    }
    assert refused.value.field == "slug"
    assert "a\r\nb" not in refused.value.message
    assert not Source.objects.exists()
    assert not Feed.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slug", "new"),
        ("slug", "try"),
        ("url", ""),
        ("url", "no address"),
        ("url", "file:///etc/passwd"),
        ("url", "http://127.0.0.1:1/"),
        ("url", "http://[::ffff:127.0.0.1]/"),
        ("url", "http://169.254.169.254/latest"),
        ("url", "http://localhost/"),
        ("url", "https://user:pass@upstream.example/"),
        ("url", "https://upstream.example/" + "x" * 2000),
        ("url", "https://upstream.example/\x00"),
        ("url", "https://\ud800.example/"),
        ("method", "get"),
        ("body", "only POST has one"),
        ("headers", {"Host": "other.example"}),
        ("headers", {"X-A": "1", "x-a": "2"}),
        ("headers", {"X-A": "line\nbreak"}),
        ("headers", {"X-A": "\ud800"}),
        ("headers", {f"X-{number}": "" for number in range(51)}),
        ("secret_headers", {"Authorization": None}),
        ("interval_s", 0.99),
        ("interval_s", 86_401),
        ("interval_s", INF),
        ("interval_s", NAN),
        ("interval_s", 10**400),
        ("timeout_s", 0.09),
        ("timeout_s", 301),
        ("timeout_s", True),
        ("format", "JSON"),
        ("feeds", ()),
        ("feeds", tuple(FeedDraft(f"feed-{number}") for number in range(101))),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    change: dict[str, Any] = {field: value}
    with pytest.raises(InvalidDraft) as refused:
        catalog.create_source(replace(PRICE, **change))
    assert list(refused.value.problems) == [field]
    assert not Source.objects.exists()


def test_a_header_is_given_once_secret_or_not() -> None:
    with pytest.raises(InvalidDraft) as refused:
        catalog.create_source(replace(PRICE, headers={"X-Key": "a"}, secret_headers={"x-key": "b"}))
    assert list(refused.value.problems) == ["secret_headers"]


def test_taken_names_are_conflicts_that_save_nothing() -> None:
    catalog.create_source(PRICE)
    with pytest.raises(Conflict) as refused:
        catalog.create_source(replace(PRICE, feeds=(FeedDraft("other"),)))
    assert refused.value.field == "slug"
    create_feed("pushed")
    two = (FeedDraft("fresh"), FeedDraft("pushed"))
    with pytest.raises(Conflict) as refused:
        catalog.create_source(SourceDraft("another", "https://upstream.example/", feeds=two))
    assert refused.value.field == "feeds.1.slug"
    assert set(Feed.objects.values_list("slug", flat=True)) == {"price", "pushed"}
    assert Source.objects.count() == 1


def settled(slug: str = "price") -> Source:
    """The source as after a few polls."""
    source = Source.objects.get(slug=slug)
    source.etag, source.last_modified, source.failures, source.last_error = '"1"', "yesterday", 3, "503"
    source.next_poll_at = timezone.now() + timedelta(hours=1)
    source.save()
    feed = source.extractions.get().feed
    write_now([Write(feed.pk, "5", Health("failing", timezone.now(), source.next_poll_at, "503"))])
    return source


def test_a_change_forgets_the_old_answer_and_polls_at_once() -> None:
    catalog.create_source(PRICE)
    settled()
    catalog.change_source("price", replace(PRICE, url="https://upstream.example/v2"))
    source = Source.objects.get()
    assert (source.etag, source.last_modified, source.failures, source.last_error) == ("", "", 0, "")
    assert source.next_poll_at is not None
    assert source.next_poll_at <= timezone.now()
    feed = Feed.objects.get()
    assert (feed.offset, feed.state, feed.error) == (1, "failing", "503")
    assert feed.next_poll_at == source.next_poll_at


def test_a_change_keeps_makes_and_deletes_feeds() -> None:
    catalog.create_source(replace(PRICE, feeds=(FeedDraft("price"), FeedDraft("volume"))))
    kept = Feed.objects.get(slug="price")
    change_feed("price", latest_only=True)
    feeds = (FeedDraft("price", "Price", "eur", True), FeedDraft("spread"))
    catalog.change_source("price", replace(PRICE, slug="prices", feeds=feeds))
    assert set(Feed.objects.values_list("slug", flat=True)) == {"price", "spread"}
    changed = Feed.objects.get(slug="price")
    assert (changed.pk, changed.epoch, changed.title, changed.public) == (kept.pk, kept.epoch, "Price", True)
    assert changed.latest_only
    assert Extraction.objects.get(feed=changed).expression == "eur"
    assert catalog.read_source("prices").draft.feeds[0].expression == "eur"
    with pytest.raises(NotFound):
        catalog.read_source("price")


def test_a_wrong_change_changes_nothing() -> None:
    catalog.create_source(PRICE)
    before = catalog.read_source("price")
    with pytest.raises(InvalidDraft):
        catalog.change_source("price", replace(PRICE, title="New", interval_s=0))
    create_feed("pushed")
    with pytest.raises(Conflict):
        catalog.change_source("price", replace(PRICE, title="New", feeds=(FeedDraft("pushed"),)))
    assert catalog.read_source("price") == before


def test_disabling_pauses_the_feeds_and_enabling_polls_at_once() -> None:
    catalog.create_source(PRICE)
    settled()
    before = Feed.objects.get()
    catalog.amend_source("price", {"enabled": False})
    paused = Feed.objects.get()
    assert (paused.state, paused.error, paused.next_poll_at) == ("paused", "", None)
    assert paused.last_ok_at == before.last_ok_at
    assert paused.status_rev > before.status_rev
    assert Source.objects.get().next_poll_at is None
    catalog.amend_source("price", {"enabled": True})
    woken = Feed.objects.get()
    assert (woken.state, woken.offset) == ("stale", 1)
    assert woken.next_poll_at is not None
    assert Source.objects.get().next_poll_at == woken.next_poll_at


def test_poll_now_makes_a_source_due_unless_it_is_disabled() -> None:
    catalog.create_source(PRICE)
    source = settled()
    assert catalog.poll_now("price") <= timezone.now()
    source.refresh_from_db()
    assert source.next_poll_at is not None
    assert source.next_poll_at <= timezone.now()
    assert source.etag == '"1"'
    catalog.amend_source("price", {"enabled": False})
    with pytest.raises(Conflict, match="disabled"):
        catalog.poll_now("price")
    with pytest.raises(NotFound):
        catalog.poll_now("nothing")


def test_a_deleted_source_takes_its_feeds_with_it() -> None:
    catalog.create_source(PRICE)
    create_feed("pushed")
    catalog.delete_source("price")
    assert list(Feed.objects.values_list("slug", flat=True)) == ["pushed"]
    assert not Source.objects.exists()
    with pytest.raises(NotFound):
        catalog.delete_source("price")


def test_a_list_is_a_fixed_number_of_queries(django_assert_max_num_queries: Any) -> None:
    for number in range(10):
        slug = f"price-{number}"
        catalog.create_source(replace(PRICE, slug=slug, feeds=(FeedDraft(slug), FeedDraft(f"{slug}-b"))))
    with django_assert_max_num_queries(5):
        rows, total = catalog.list_sources(limit=8)
    assert (len(rows), total, len(rows[0].draft.feeds)) == (8, 10, 2)
    assert [row.draft.slug for row in catalog.list_sources(search="PRICE-3", limit=5)[0]] == ["price-3"]
