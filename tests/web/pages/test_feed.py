"""A feed's page without JavaScript: value, history, health, and lines to copy."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from realtime.feeds.catalog import create_feed
from realtime.feeds.runtime import Feeds, publish
from realtime.sources.catalog import FeedDraft, SourceDraft, create_source
from realtime.web.pages.feed import read_feed
from tests.on_demand import Shop, fill

from .conftest import Browser


def add(slug: str, *values: Any, title: str = "", public: bool = True) -> None:
    create_feed(slug, title=title, public=public)
    for value in values:
        publish(slug, value)


async def test_objects_are_shown_as_indented_json(feeds: Feeds, stranger: Browser) -> None:
    await feeds.database.write(add, "lab", {"b": [1, "ü"], "a": "</code>"})
    page = await stranger.get("/feeds/lab/")
    assert '{ "b": [ 1, "ü" ], "a": "</code>" }' in page.text


async def test_the_history_is_newest_first_and_leafs_back(feeds: Feeds, stranger: Browser) -> None:
    await feeds.database.write(lambda: add("lab", *range(100, 145)))
    first = await stranger.get("/feeds/lab/")
    assert "45 20" in first.text  # an offset, then its moment
    assert "?before=26#history-title" in [link["href"] for link in first.having("href")]
    second = await stranger.get("/feeds/lab/?before=26")
    assert " 125 " not in second.text
    assert " 124 " in second.text
    last = await stranger.get("/feeds/lab/?before=6")
    assert "?before=" not in "".join(link["href"] for link in last.having("href"))
    assert "Nothing older is kept." in (await stranger.get("/feeds/lab/?before=1")).text


@pytest.mark.parametrize("before", ["", "x", "-5", "0", "9" * 18, "9" * 30, "\u0661"])
async def test_any_before_gives_a_page(feeds: Feeds, stranger: Browser, before: str) -> None:
    await feeds.database.write(add, "lab", 1)
    assert (await stranger.get(f"/feeds/lab/?before={before}")).status == 200


async def test_private_and_unknown_feeds_are_the_same_to_a_stranger(
    feeds: Feeds, stranger: Browser, member: Browser
) -> None:
    await feeds.database.write(lambda: add("lab", 1, public=False))
    private, unknown = await stranger.get("/feeds/lab/"), await stranger.get("/feeds/none/")
    assert (private.status, unknown.status) == (404, 404)
    assert private.text == unknown.text
    assert (await member.get("/feeds/lab/")).status == 200


@pytest.mark.parametrize("slug", ["UPPER", "a b", "%00", "ü", "a" * 300, "a'b"])
async def test_impossible_names_are_not_found(feeds: Feeds, stranger: Browser, slug: str) -> None:
    assert (await stranger.get(f"/feeds/{slug}/")).status == 404


async def test_lines_to_copy_name_this_site_and_a_token_only_where_one_is_needed(
    feeds: Feeds, stranger: Browser, member: Browser
) -> None:
    await feeds.database.write(add, "open", 1)
    await feeds.database.write(lambda: add("closed", 1, public=False))
    text = (await stranger.get("/feeds/open/")).text
    assert "curl http://testserver/api/feeds/open" in text
    assert "curl -N http://testserver/feeds/open/events" in text
    assert 'websocat "ws://testserver/ws/feeds/open/"' in text
    assert "TOKEN" not in text
    text = (await member.get("/feeds/closed/")).text
    assert 'curl -H "Authorization: Bearer $TOKEN" http://testserver/api/feeds/closed' in text
    assert 'websocat "ws://testserver/ws/feeds/closed/?token=$TOKEN"' in text


async def test_staff_finds_the_source_that_fills_a_feed(
    feeds: Feeds, staff: Browser, member: Browser
) -> None:
    draft = SourceDraft("prices", "https://example.org/", feeds=(FeedDraft("btc", public=True),))
    await feeds.database.write(create_source, draft)
    link = "/sources/prices/edit/"
    assert link in [each["href"] for each in (await staff.get("/feeds/btc/")).having("href")]
    assert link not in [each["href"] for each in (await member.get("/feeds/btc/")).having("href")]


async def test_a_huge_value_is_a_download_and_not_a_page(feeds: Feeds, stranger: Browser) -> None:
    await feeds.database.write(partial(add, "lab", ["x" * 1000] * 500))
    page = await stranger.get("/feeds/lab/")
    assert "501.5 KB of JSON" in page.text
    assert len(page.response.content) < 30_000


@pytest.mark.django_db
def test_a_feeds_page_costs_three_queries_and_two_for_the_session(
    django_assert_num_queries: DjangoAssertNumQueries, staff: Browser
) -> None:
    add("lab", *range(100))
    with django_assert_num_queries(3):
        read_feed("", "lab", None)
    with django_assert_num_queries(5):
        read_feed(staff.sessionid, "lab", 50)


async def test_a_live_querys_page_is_at_its_true_name_for_its_readers(
    feeds: Feeds, shop: Shop, stranger: Browser, member: Browser
) -> None:
    fill(feeds, lambda slug: {"total": 42})
    true = "/feeds/query:open%3Fcustomer=42/"
    for path in ("/feeds/query:open/?customer=42", "/feeds/query:open%3Fpage=1&customer=42/", true):
        page = await stranger.get(path)
        assert (page.status, page.response.get("Location")) == ((200, None) if path == true else (302, true))
    assert '"total": 42' in page.text
    links = [link["href"] for link in page.having("href")]
    assert "/api/feeds/query%3Aopen%3Fcustomer%3D42" in links
    assert page.having("data-feed")[0]["data-feed"] == "query:open?customer=42"
    # Of each member an own one; what is not theirs is not there.
    for path in ("/feeds/query:sales/?customer=1", "/feeds/query:none/"):
        for who in (stranger, member):
            assert (await who.get(path)).status == 404
    assert (await stranger.get("/feeds/query:open/?customer=x")).status == 400
    assert (await member.get("/feeds/query:mine/?customer=1")).status == 302
