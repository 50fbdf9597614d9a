"""The board without JavaScript: who sees which feeds, how values look, and what it costs."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from django.test import RequestFactory
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from realtime.feeds.catalog import create_feed, find_feed
from realtime.feeds.models import Demand, Feed
from realtime.feeds.runtime import Feeds, publish, write_now
from realtime.feeds.store import Health, Write
from realtime.web.pages.board import render_board

from .conftest import Browser


def add(slug: str, *values: Any, title: str = "", public: bool = True) -> None:
    create_feed(slug, title=title, public=public)
    for value in values:
        publish(slug, value)


async def test_a_stranger_sees_public_feeds_only(feeds: Feeds, stranger: Browser, member: Browser) -> None:
    await feeds.database.write(add, "open-one", 1)
    await feeds.database.write(lambda: add("secret-one", 2, public=False))
    assert [tile["data-feed"] for tile in (await stranger.get("/")).having("data-feed")] == ["open-one"]
    assert [tile["data-feed"] for tile in (await member.get("/")).having("data-feed")] == [
        "open-one",
        "secret-one",
    ]


async def test_what_clients_open_is_not_on_the_board(feeds: Feeds, member: Browser, staff: Browser) -> None:
    await feeds.database.write(add, "open-one", 1)
    for slug, kind in (("chat:room", "channel"), ("query:open", "query")):
        await feeds.database.write(
            partial(Feed.objects.create, slug=slug, title=slug, kind=kind, public=True)
        )
    for browser in (member, staff):
        assert [tile["data-feed"] for tile in (await browser.get("/")).having("data-feed")] == ["open-one"]
    assert (await member.get("/feeds/chat:room/")).status == 200


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1234567.891, "1,234,567.89"),
        (0, "0"),
        (True, "true"),
        (None, "null"),
        ("All Systems Operational", "All Systems Operational"),
        ("  ", "empty text"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ([1, 2, 3], "3 items"),
        ({}, "empty object"),
        (
            {"a": {"deep": 1}, "b": 2, "c": "x", "d": None, "e": [1]},
            "b 2 c x d null a {1} and 1 more",
        ),
        (10**400, "1E400"),
    ],
)
async def test_values_are_shown_by_their_shape(
    feeds: Feeds, stranger: Browser, value: Any, words: str
) -> None:
    await feeds.database.write(add, "lab", value)
    page = await stranger.get("/")
    assert page.status == 200
    assert f"lab {words} fresh" in page.text


async def test_a_tile_tells_the_position_to_resume_from(feeds: Feeds, stranger: Browser) -> None:
    await feeds.database.write(add, "lab", 1, 2, 3)
    (tile,) = (await stranger.get("/")).having("data-feed")
    epoch = await feeds.database.read(lambda: Feed.objects.get(slug="lab").epoch)
    assert (tile["data-epoch"], tile["data-offset"]) == (epoch, "3")


async def test_only_numbers_have_a_sparkline(feeds: Feeds, stranger: Browser) -> None:
    await feeds.database.write(add, "lab", 1, 5, 2)
    await feeds.database.write(add, "words", "a", "b")
    page = await stranger.get("/")
    assert len(page.having("data-points")) == 1
    (line,) = page.having("points")
    assert line["points"].startswith("0.0,29.0 ")


async def test_a_failing_feed_tells_why_and_when_it_is_tried_again(feeds: Feeds, stranger: Browser) -> None:
    def fail() -> None:
        soon = timezone.now() + timedelta(hours=2, minutes=30)
        write_now([Write(find_feed("lab").id, health=Health("failing", None, soon, "Answered 503."))])

    await feeds.database.write(add, "lab")
    await feeds.database.write(fail)
    page = await stranger.get("/")
    assert "failing next try in 2 h Answered 503." in page.text


async def test_the_filter_works_without_javascript(feeds: Feeds, stranger: Browser) -> None:
    await feeds.database.write(lambda: add("cpu", 1, title="Processor"))
    await feeds.database.write(lambda: add("memory", 2, title="Memory"))
    for text, found in (("PROC", ["cpu"]), ("memo", ["memory"]), ("zzz", []), ("%00", ["memory", "cpu"])):
        page = await stranger.get(f"/?q={text}")
        assert [tile["data-feed"] for tile in page.having("data-feed")] == found
    assert "No feed matches “zzz”" in (await stranger.get("/?q=zzz")).text


async def test_more_feeds_than_one_connection_may_watch_are_paged(feeds: Feeds, stranger: Browser) -> None:
    def many() -> None:
        Feed.objects.bulk_create(Feed(slug=f"f-{n:03}", title=f"F {n:03}", public=True) for n in range(121))

    await feeds.database.write(many)
    first = await stranger.get("/")
    assert (len(first.having("data-feed")), "Page 1 of 2" in first.text) == (120, True)
    second = await stranger.get("/?page=2")
    assert [tile["data-feed"] for tile in second.having("data-feed")] == ["f-120"]
    for odd in ("0", "-1", "x", "99999999999999999999", "3"):
        assert (await stranger.get(f"/?page={odd}")).status == 200


async def test_an_empty_board_tells_what_to_do_next(
    feeds: Feeds, stranger: Browser, member: Browser, staff: Browser
) -> None:
    assert "Log in to see the others" in (await stranger.get("/")).text
    assert "staff rights can add a source" in (await member.get("/")).text
    page = await staff.get("/")
    assert "Add a source" in page.text
    assert "/sources/new/" in [link["href"] for link in page.having("href")]


async def test_a_value_too_large_for_a_tile_is_not_read(feeds: Feeds, stranger: Browser) -> None:
    await feeds.database.write(add, "lab", "x" * 50_000)
    page = await stranger.get("/")
    assert "lab 50 KB of JSON" in page.text
    assert len(page.response.content) < 20_000


@pytest.mark.django_db
@pytest.mark.parametrize("number_of_feeds", [3, 30])
def test_the_board_costs_as_much_for_three_feeds_as_for_thirty(
    number_of_feeds: int,
    django_assert_num_queries: DjangoAssertNumQueries,
    around_an_evaluation: int,
    staff: Browser,
) -> None:
    for n in range(number_of_feeds):
        add(f"f-{n}", 1, 2)
    request = RequestFactory().get("/")
    # Three for the tiles, one for where their list stands; where no engine keeps the states, they are looked
    # for and counted.
    with django_assert_num_queries(3 + 1 + 2 + around_an_evaluation):
        render_board(request, "", 1)
    # Two for the session, and one for whether its user may see all feeds.
    request.COOKIES["sessionid"] = staff.sessionid
    with django_assert_num_queries(2 + 3 + 1 + 1 + 2 + around_an_evaluation):
        render_board(request, "", 1)


async def test_the_states_are_counted_over_all_pages_and_feeds_that_the_viewer_may_read(
    feeds: Feeds, stranger: Browser, member: Browser
) -> None:
    def some() -> None:
        Feed.objects.bulk_create(Feed(slug=f"f-{n}", title="F", public=n != 0) for n in range(121))
        Feed.objects.filter(slug__in=("f-0", "f-1")).update(state="failing")
        Feed.objects.create(slug="query:feeds", title="Feeds", kind="query", public=True)

    await feeds.database.write(some)
    assert "1 failing 119 fresh" in (await stranger.get("/")).text
    assert "2 failing 119 fresh" in (await member.get("/")).text
    assert "1 failing" in (await stranger.get("/?q=f-1")).text


async def test_the_board_says_which_live_queries_keep_it_true(
    feeds: Feeds, stranger: Browser, member: Browser
) -> None:
    await feeds.database.write(add, "lab", 1)
    for browser, path, scope in (
        (stranger, "/", ""),
        (stranger, "/?q=%C3%A9%3F%26", "?search=%C3%A9%3F%26"),
        (member, "/", "?scope=all"),
        (member, "/?q=lab", "?scope=all&search=lab"),
    ):
        page = await browser.get(path)
        assert [each["data-feeds"] for each in page.having("data-feeds") if each.get("id") == "board"] == [
            f"query:feeds{scope}"
        ]
        (block,) = page.having("data-live")
        assert block["data-live"].startswith(f"query:feeds-by-state{scope}#board.html:")


async def test_the_board_goes_on_from_where_its_list_stood_if_that_is_kept(
    feeds: Feeds, stranger: Browser
) -> None:
    def keep(until: datetime | None) -> Feed:
        feed, _ = Feed.objects.get_or_create(slug="query:feeds", title="Feeds", kind="query", offset=7)
        Demand.objects.update_or_create(
            feed=feed, defaults={"wanted_until": timezone.now(), "kept": True, "claimed_until": until}
        )
        return feed

    async def said() -> tuple[str | None, str | None]:
        (found,) = (each for each in (await stranger.get("/")).having("data-feeds") if each["id"] == "board")
        return found.get("data-epoch"), found.get("data-offset")

    assert await said() == (None, None)
    feed = await feeds.database.write(keep, timezone.now() + timedelta(seconds=60))
    assert await said() == (feed.epoch, "7")
    await feeds.database.write(keep, timezone.now())
    assert await said() == (None, None)


@pytest.mark.parametrize(
    "text", ["é" * 100, "🌊" * 100, "a" * 300, "&" * 100], ids=["accents", "waves", "long", "marks"]
)
async def test_whatever_is_searched_for_fits_into_a_name(feeds: Feeds, member: Browser, text: str) -> None:
    page = await member.get(f"/?q={quote(text)}&page=1")
    assert page.status == 200
    assert len(page.having("data-live")[0]["data-live"]) <= 255
