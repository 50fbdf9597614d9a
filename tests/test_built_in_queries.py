"""Headwater's own live queries: what they show of its own rows, and to whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.utils import timezone

from realtime import live
from realtime.delivery.centrifuge.subscribing import CHANNEL_LIMIT
from realtime.feeds import board
from realtime.feeds.catalog import create_feed
from realtime.feeds.models import Feed, JournalEntry
from realtime.feeds.runtime import publish
from realtime.queries.registry import query_named

from .sources.rows import make_source

pytestmark = pytest.mark.django_db


def add(slug: str, **fields: Any) -> Feed:
    return Feed.objects.create(slug=slug, title=fields.pop("title", slug), **fields)


def test_the_board_has_what_anybody_fills_on_purpose() -> None:
    add("b", public=True, title="Beta")
    add("a", title="alpha")
    add("chat:room", kind="channel", public=True)
    add("query:feeds", kind="query", public=True)
    alpha = {"slug": "a", "title": "alpha", "public": False}
    beta = {"slug": "b", "title": "Beta", "public": True}
    assert list(live.feeds(scope="all")) == [alpha, beta]
    assert list(live.feeds()) == [beta]
    assert list(live.feeds(scope="all", search="ALP")) == [alpha]
    assert list(live.feeds(scope="all", search="b")) == [beta]


def test_the_board_comes_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "TILES_PER_PAGE", 2)
    for slug in ("a", "b", "c"):
        add(slug, public=True)
    pages = [[row["slug"] for row in live.feeds(page=page)] for page in (1, 2, 3)]
    assert pages == [["a", "b"], ["c"], []]


def test_a_page_of_the_board_leaves_room_on_its_connection() -> None:
    assert board.TILES_PER_PAGE + 5 <= CHANNEL_LIMIT


def test_feeds_are_counted_by_state() -> None:
    add("a", public=True)
    add("b", public=True, state="failing")
    add("c", state="failing")
    add("query:feeds", kind="query", public=True, state="failing")
    assert list(live.feeds_by_state()) == [{"state": "failing", "feeds": 1}, {"state": "fresh", "feeds": 1}]
    assert live.feeds_by_state(scope="all").first() == {"state": "failing", "feeds": 2}
    assert list(live.feeds_by_state(scope="all", search="c")) == [{"state": "failing", "feeds": 1}]


def test_the_newest_publications_of_a_feed_come_first() -> None:
    create_feed("lab")
    create_feed("other")
    for value in (1, {"a": [1.5, "é\x00"]}, None):
        publish("lab", value)
    publish("other", 9)
    rows = list(live.publications("lab", newest=2))
    assert [(row["offset"], row["value"]) for row in rows] == [(3, None), (2, {"a": [1.5, "é\x00"]})]
    assert list(live.publications("nothing")) == []


def test_publications_are_counted_by_the_minute() -> None:
    create_feed("lab")
    now = datetime(2026, 1, 1, 12, 30, 5, tzinfo=UTC)
    feed = Feed.objects.get()
    for offset, seconds in enumerate((0, 3, 70, 7200)):
        at = now - timedelta(seconds=seconds)
        JournalEntry.objects.create(feed=feed, offset=10 - offset, published_at=at, data="1")
    rows = list(live.publications_per_minute("lab"))
    assert [(row["minute"].strftime("%H:%M"), row["publications"]) for row in rows] == [
        ("12:30", 2),
        ("12:28", 1),
        ("10:30", 1),
    ]


def test_what_live_queries_publish_is_never_a_reason_to_evaluate_one() -> None:
    feed = add("query:feeds", kind="query", public=True)
    JournalEntry.objects.create(feed=feed, offset=1, published_at=timezone.now(), data="1")
    assert list(live.publications("query:feeds")) == []
    assert list(live.publications_per_minute("query:feeds")) == []


def test_a_source_has_a_row_for_each_feed_and_its_health() -> None:
    make_source("bad", expressions=("a", "b"), failures=2, last_error="No.", last_polled_at=timezone.now())
    make_source("good", last_polled_at=timezone.now())
    make_source("new", expressions=())
    make_source("off", enabled=False, failures=1)
    rows = [(row["slug"], row["feed"], row["state"]) for row in live.sources()]
    assert rows == [
        ("bad", "bad-0", "failing"),
        ("bad", "bad-1", "failing"),
        ("good", "good-0", "fresh"),
        ("new", None, "stale"),
        ("off", "off-0", "paused"),
    ]
    assert {row["slug"] for row in live.sources(search="OO")} == {"good"}


def test_pages_of_sources_count_sources_and_not_their_feeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SOURCES_PER_PAGE", 2)
    for slug in ("a", "b", "c"):
        make_source(slug, expressions=("x", "y"))
    assert [row["feed"] for row in live.sources()] == ["a-0", "a-1", "b-0", "b-1"]
    assert [row["feed"] for row in live.sources(page=2)] == ["c-0", "c-1"]


def test_nothing_of_a_sources_secrets_is_in_its_row() -> None:
    make_source(secret_headers={"Authorization": "hush-hush"}, headers={"X-Key": "hush-hush"})
    assert "hush" not in str(list(live.sources()))


def test_who_may_see_what() -> None:
    nobody, member = AnonymousUser(), User.objects.create(username="member")
    staff = User.objects.create(username="staff", is_staff=True)
    assert [live.may_see_scope(nobody, scope) for scope in ("public", "all")] == [True, False]
    assert live.may_see_scope(member, "all")
    add("open", public=True)
    add("closed")
    add("chat:room", kind="channel")
    readable = {
        user: [slug for slug in ("open", "closed", "chat:room", "none") if live.may_read_feed(user, slug)]
        for user in (nobody, member, staff)
    }
    assert readable == {
        nobody: ["open"],
        member: ["open", "closed"],
        staff: ["open", "closed", "chat:room"],
    }
    sources = query_named("sources")
    assert sources is not None
    assert sources.who == "staff"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("feeds", {"page": "0"}),
        ("feeds", {"search": "\x00"}),
        ("feeds", {"search": "x" * 101}),
        ("feeds", {"scope": "mine"}),
        ("publications", {"of": "lab", "newest": "1001"}),
        ("publications", {}),
    ],
)
def test_parameters_out_of_bounds_are_refused(name: str, given: dict[str, str]) -> None:
    query = query_named(name)
    assert query is not None
    with pytest.raises(ValueError, match=r"page|search|scope|newest|of"):
        query.params.model_validate(given)
