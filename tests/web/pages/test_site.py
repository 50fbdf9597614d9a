"""What holds for all pages: security headers, errors as pages, log in and out, and the demo's upstream."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.http import Http404
from django.test import AsyncClient, AsyncRequestFactory, Client

from realtime.feeds.runtime import Feeds
from realtime.web.demo import machine
from realtime.web.format import ago, number_text, size_text, until

from .conftest import Browser


@pytest.mark.parametrize(
    "path", ["/", "/login/", "/nothing/here", "/feeds/none/", "/api/feeds", "/demo/machine"]
)
async def test_every_answer_has_the_strict_policy(feeds: Feeds, stranger: Browser, path: str) -> None:
    headers = (await stranger.client.get(path)).headers
    policy = headers["Content-Security-Policy"]
    for part in (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self' ws://testserver wss://testserver",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ):
        assert part in policy.split("; ")
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"


async def test_a_host_of_somebody_else_is_refused_and_gets_no_say_in_the_policy(
    feeds: Feeds, stranger: Browser
) -> None:
    response = await stranger.client.get("/", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert "evil" not in response.headers["Content-Security-Policy"]


def test_the_policy_also_holds_where_django_runs_synchronously(transactional_db: None) -> None:
    assert "default-src 'none'" in Client().get("/login/").headers["Content-Security-Policy"]


async def test_pages_have_no_inline_script_or_style(feeds: Feeds, staff: Browser) -> None:
    for path in ("/", "/sources/", "/sources/new/", "/nothing/here"):
        page = await staff.get(path)
        assert all("src" in attributes for tag, attributes in page.elements if tag == "script")
        assert not [tag for tag, attributes in page.elements if tag == "style" or "style" in attributes]
        assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


async def test_unknown_pages_say_so_in_style(feeds: Feeds, stranger: Browser) -> None:
    page = await stranger.get("/nothing/here")
    assert page.status == 404
    assert "Nothing flows here" in page.text


async def test_the_icon_is_found_where_browsers_look_for_it(feeds: Feeds, stranger: Browser) -> None:
    response = await stranger.client.get("/favicon.ico")
    assert (response.status_code, response.headers["Location"]) == (302, "/static/img/headwater.svg")


async def test_pages_are_kept_by_no_shared_cache(feeds: Feeds, stranger: Browser) -> None:
    headers = (await stranger.get("/")).response.headers
    assert headers["Cache-Control"] == "private, no-cache"
    assert "Cookie" in headers["Vary"]


async def test_one_logs_in_and_out(feeds: Feeds) -> None:
    await feeds.database.write(lambda: User.objects.create_user("ana", password="long enough"))
    browser = Browser("")
    wrong = await browser.post("/login/", {"username": "ana", "password": "no"})
    assert "correct username and password" in wrong.text
    done = await browser.post("/login/", {"username": "ana", "password": "long enough", "next": "/sources/"})
    assert done.response["Location"] == "/sources/"
    assert "Log out" in (await browser.get("/")).text
    assert (await browser.post("/logout/")).response["Location"] == "/"
    assert "Log in" in (await browser.get("/")).text


async def test_logging_in_leads_nowhere_else(feeds: Feeds) -> None:
    await feeds.database.write(lambda: User.objects.create_user("ana", password="long enough"))
    browser = Browser("")
    form = {"username": "ana", "password": "long enough", "next": "https://evil.example/"}
    assert (await browser.post("/login/", form)).response["Location"] == "/"


async def test_a_form_without_its_token_is_refused_in_style(feeds: Feeds, staff: Browser) -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    client.cookies["sessionid"] = staff.sessionid
    response = await client.post("/sources/new/", {"slug": "x"})
    assert response.status_code == 403
    assert "The form was too old" in response.content.decode()


async def test_a_database_that_is_away_is_said_so(
    feeds: Feeds, stranger: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    from realtime.errors import Unavailable

    async def away(*args: object) -> None:
        raise Unavailable("The database does not answer.")

    monkeypatch.setattr(feeds.database, "read", away)
    page = await stranger.get("/")
    assert (page.status, page.response["Retry-After"]) == (503, "5")
    assert "The database does not answer." in page.text


async def test_the_machines_figures_are_for_the_machine_alone(feeds: Feeds) -> None:
    client = AsyncClient()
    figures = (await client.get("/demo/machine")).json()
    assert 0 <= figures["cpu_percent"] <= 100
    assert 0 < figures["memory_percent"] < 100
    assert {"load_1m", "load_5m", "load_15m", "cpu_count"} <= set(figures)
    forwarded = await client.get("/demo/machine", headers={"X-Forwarded-For": "127.0.0.1"})
    assert forwarded.status_code == 404
    request = AsyncRequestFactory().get("/demo/machine")
    request.META["REMOTE_ADDR"] = "203.0.113.9"
    with pytest.raises(Http404):
        await machine(request)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (7, "7"),
        (-7.5, "-7.5"),
        (1234567, "1,234,567"),
        (67123.456, "67,123.46"),
        (1.23456, "1.235"),
        (0.0123456, "0.01235"),
        (0.5, "0.5"),
        (0.99999, "1"),
        (1e-7, "1E-7"),
        (1.23456e20, "1.2346E20"),
        (999999999999999, "999,999,999,999,999"),
    ],
)
def test_numbers_have_as_many_decimals_as_their_size_deserves(value: float, text: str) -> None:
    assert number_text(value) == text


def test_spans_and_sizes_are_said_in_their_largest_unit() -> None:
    from datetime import UTC, datetime, timedelta

    now = datetime(2026, 1, 1, tzinfo=UTC)
    spans = {0.5: "now", 3: "3 s ago", 90: "1 min ago", 7300: "2 h ago", 200_000: "2 d ago"}
    assert {s: ago(now - timedelta(seconds=s), now) for s in spans} == spans
    assert until(now + timedelta(seconds=12.5), now) == "in 12 s"
    assert until(now - timedelta(seconds=5), now) == "now"
    assert [size_text(n) for n in (999, 1500, 2_000_000)] == ["999 bytes", "1.5 KB", "2 MB"]
