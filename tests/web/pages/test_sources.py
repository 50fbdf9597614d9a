"""Sources on the page: who may, what is saved, what is refused beside its field, what never comes out."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory
from pytest_django import DjangoAssertNumQueries

from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds
from realtime.sources.catalog import FeedDraft, SourceDraft, create_source
from realtime.sources.models import Source
from realtime.web.pages import sources as pages

from .conftest import Browser

PRICES = SourceDraft(
    slug="prices",
    url="https://example.org/prices",
    headers={"Accept": "application/json"},
    secret_headers={"Authorization": "Bearer hush-hush"},
    feeds=(FeedDraft("btc", "Bitcoin", "data.amount", public=True),),
)
FORM = {
    "slug": "prices",
    "title": "",
    "url": "https://example.org/prices",
    "method": "GET",
    "body": "",
    "headers": "",
    "secret_headers": "",
    "interval_s": "2.5",
    "timeout_s": "10",
    "format": "json",
    "enabled": "on",
    "feeds-0-slug": "btc",
    "feeds-0-title": "Bitcoin",
    "feeds-0-expression": "data.amount",
    "feeds-0-public": "on",
    "feeds-3-slug": "eth",
    "feeds-3-expression": "data.eth",
    "feeds-4-slug": "",
}
ADDRESSES = ("/sources/", "/sources/new/", "/sources/prices/edit/", "/sources/prices/delete/")


@pytest.mark.parametrize("address", ADDRESSES)
async def test_sources_are_for_staff(
    feeds: Feeds, stranger: Browser, member: Browser, staff: Browser, address: str
) -> None:
    await feeds.database.write(create_source, PRICES)
    page = await stranger.get(address)
    assert (page.status, page.response["Location"]) == (302, f"/login/?next={address}")
    assert (await member.get(address)).status == 403
    assert (await staff.get(address)).status == 200


async def test_nobody_else_changes_anything(feeds: Feeds, stranger: Browser, member: Browser) -> None:
    await feeds.database.write(create_source, PRICES)
    for who, status in ((stranger, 302), (member, 403)):
        for address in ("/sources/new/", "/sources/prices/edit/", "/sources/prices/delete/"):
            assert (await who.post(address, FORM | {"slug": "other"})).status == status
        assert (await who.post("/sources/prices/poll/")).status == status
    assert await feeds.database.read(lambda: list(Source.objects.values_list("slug", flat=True))) == [
        "prices"
    ]


async def test_a_form_saves_a_source_with_its_feeds(feeds: Feeds, staff: Browser) -> None:
    page = await staff.post("/sources/new/", FORM | {"headers": "Accept: text/plain\r\nX-A: b: c"})
    assert (page.status, page.response["Location"]) == (302, "/sources/")

    def saved() -> Any:
        source = Source.objects.get()
        return source.interval_s, source.headers, list(Feed.objects.values_list("slug", "title", "public"))

    assert await feeds.database.read(saved) == (
        2.5,
        {"Accept": "text/plain", "X-A": "b: c"},
        [("btc", "Bitcoin", True), ("eth", "eth", False)],
    )
    assert "prices is saved and being polled." in (await staff.get("/sources/")).text


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("slug", "No Good", "lower-case letters"),
        ("slug", "new", "address of its own"),
        ("url", "", "url"),
        ("url", "ftp://example.org/", "http"),
        ("url", "http://127.0.0.1/", "127.0.0.1"),
        ("interval_s", "soon", "Give seconds from 1 to 86400"),
        ("interval_s", "0.5", "Give seconds from 1 to 86400"),
        ("timeout_s", "nan", "Give seconds"),
        ("timeout_s", "1e999", "Give seconds"),
        ("format", "xml", "Choose one of"),
        ("method", "BREW", "Choose one of"),
        ("body", "x", "Only POST sends a body"),
        ("headers", "no colon", "Line 1: write it as Name: value."),
        ("headers", "A: 1\nB: 2\na: 3", "Line 3: a is there twice."),
        ("secret_headers", "Bad Name: x", "Bad Name"),
        ("title", "x" * 201, "At most 200"),
        ("feeds-0-slug", "No Good", "lower-case letters"),
        ("feeds-0-slug", "eth", "twice"),
        ("feeds-0-expression", "data.[", "character"),
        ("feeds-3-title", "y" * 201, "At most 200"),
    ],
)
async def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_saved(
    feeds: Feeds, staff: Browser, field: str, value: str, words: str
) -> None:
    page = await staff.post("/sources/new/", FORM | {field: value})
    assert page.status == 400
    assert "Nothing was saved." in page.text
    assert words.lower() in page.text.lower()
    marked = [each["name"] for each in page.having("aria-invalid")]
    renumbered = {"feeds-3-title": "feeds-1-title", ("feeds-0-slug", "eth"): "feeds-1-slug"}
    if field not in ("format", "method"):
        assert marked == [renumbered.get((field, value), renumbered.get(field, field))]
    assert await feeds.database.read(Source.objects.count) == 0


async def test_a_name_that_is_taken_is_refused_at_the_name(feeds: Feeds, staff: Browser) -> None:
    await feeds.database.write(create_source, PRICES)
    page = await staff.post("/sources/new/", FORM)
    assert page.status == 400
    assert "A source named prices exists already." in page.text
    page = await staff.post("/sources/new/", FORM | {"slug": "other"})
    assert [each["name"] for each in page.having("aria-invalid")] == ["feeds-0-slug"]
    assert await feeds.database.read(Source.objects.count) == 1


async def test_secret_values_never_come_out_again(feeds: Feeds, staff: Browser) -> None:
    await feeds.database.write(create_source, PRICES)
    page = await staff.get("/sources/prices/edit/")
    assert "hush-hush" not in page.response.content.decode()
    assert "keep Authorization" in page.text
    assert page.response["Cache-Control"] == "no-store"


async def test_secrets_are_kept_replaced_or_dropped(feeds: Feeds, staff: Browser) -> None:
    await feeds.database.write(create_source, PRICES)

    def secrets() -> Any:
        return Source.objects.get().secret_headers

    edit = "/sources/prices/edit/"
    assert (await staff.post(edit, FORM | {"keep_secret": "Authorization"})).status == 302
    assert await feeds.database.read(secrets) == {"Authorization": "Bearer hush-hush"}
    assert (await staff.post(edit, FORM | {"secret_headers": "X-Key: new"})).status == 302
    assert await feeds.database.read(secrets) == {"X-Key": "new"}
    moved = FORM | {"keep_secret": "X-Key", "url": "https://elsewhere.example/"}
    page = await staff.post(edit, moved)
    assert "give the secret values again" in page.text
    assert (await staff.post(edit, FORM | {"keep_secret": "Never-Stored"})).status == 302
    assert await feeds.database.read(secrets) == {}


async def test_deleting_asks_first(feeds: Feeds, staff: Browser) -> None:
    await feeds.database.write(create_source, PRICES)
    page = await staff.get("/sources/prices/delete/")
    assert "its feed btc and all that was recorded will be gone" in page.text
    assert await feeds.database.read(Source.objects.count) == 1
    assert (await staff.post("/sources/prices/delete/")).response["Location"] == "/sources/"
    assert await feeds.database.read(Feed.objects.count) == 0
    assert "prices and its feeds are deleted." in (await staff.get("/sources/")).text


async def test_poll_now_makes_it_due_or_says_why_not(feeds: Feeds, staff: Browser) -> None:
    await feeds.database.write(create_source, PRICES)
    assert (await staff.get("/sources/prices/poll/")).status == 405
    assert (await staff.post("/sources/prices/poll/")).status == 302
    assert "prices is being polled now." in (await staff.get("/sources/")).text
    await staff.post("/sources/prices/edit/", {k: v for k, v in FORM.items() if k != "enabled"})
    await staff.post("/sources/prices/poll/")
    assert "This source is disabled." in (await staff.get("/sources/")).text
    assert (await staff.post("/sources/none/poll/")).status == 404


async def test_the_list_is_searched(feeds: Feeds, staff: Browser) -> None:
    assert "No sources yet" in (await staff.get("/sources/")).text
    await feeds.database.write(create_source, PRICES)
    assert "GET https://example.org/prices" in (await staff.get("/sources/?q=PRICE")).text
    assert "No source matches “zzz”" in (await staff.get("/sources/?q=zzz")).text
    assert "GET https://example.org/prices" in (await staff.get("/sources/?q=%00")).text


@pytest.mark.django_db
@pytest.mark.parametrize("number_of_sources", [1, 10])
def test_the_list_costs_as_much_for_one_source_as_for_ten(
    number_of_sources: int,
    django_assert_num_queries: DjangoAssertNumQueries,
    around_an_evaluation: int,
    staff: Browser,
) -> None:
    for n in range(number_of_sources):
        create_source(SourceDraft(f"s-{n}", "https://example.org/", feeds=(FeedDraft(f"f-{n}"),)))
    request = RequestFactory().get("/sources/")
    request.COOKIES["sessionid"] = staff.sessionid
    # Two for the session, one for the pages; where no engine keeps the list, it is looked for and read.
    with django_assert_num_queries(2 + 1 + 2 + around_an_evaluation):
        pages.render_list(request, "", 1)


async def test_the_list_is_what_a_live_query_shows_and_its_forms_are_the_pages_own(
    feeds: Feeds, staff: Browser
) -> None:
    await feeds.database.write(create_source, PRICES)
    page = await staff.get("/sources/?q=price")
    (block,) = page.having("data-live")
    assert block["data-live"].startswith("query:sources?search=price#sources.html:")
    (button,) = page.having("formaction")
    assert (button["form"], button["formaction"]) == ("poll", "/sources/prices/poll/")
    assert [each["name"] for each in page.having("value") if each.get("type") == "hidden"] == [
        "csrfmiddlewaretoken",  # to log out
        "csrfmiddlewaretoken",  # to poll
    ]


async def test_sources_come_in_pages(feeds: Feeds, staff: Browser) -> None:
    def many() -> None:
        Source.objects.bulk_create(
            Source(slug=f"s-{n:03}", title="S", url="http://example.org/") for n in range(101)
        )

    await feeds.database.write(many)
    first, second = await staff.get("/sources/"), await staff.get("/sources/?page=2")
    assert [len(page.having("formaction")) for page in (first, second)] == [100, 1]
    assert "Page 2 of 2" in (await staff.get("/sources/?page=9")).text
