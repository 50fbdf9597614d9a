"""The commands that add feeds, sources and tokens: what they make, and how they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from realtime.feeds.access import principal_for_token
from realtime.feeds.catalog import find_feed
from realtime.feeds.models import ApiToken, Feed
from realtime.sources.catalog import FeedDraft, read_source
from realtime.sources.models import Source

pytestmark = pytest.mark.django_db

URL = "https://upstream.example/v1"


def test_add_source_makes_a_source_and_its_feed(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("add_source", "price", URL, "--every", "5", "--extract", "usd", "--public")
    draft = read_source("price").draft
    assert (draft.url, draft.interval_s, draft.format, draft.enabled) == (URL, 5.0, "json", True)
    assert draft.feeds == (FeedDraft("price", "price", "usd", True),)
    assert "price" in capsys.readouterr().out


def test_add_source_takes_titles_formats_and_headers() -> None:
    call_command(
        *("add_source", "price", URL, "--title", "Price, €", "--format", "csv", "--timeout", "0.5"),
        *("--header", "Accept: text/csv", "--header", "X-Colon: a:b", "--secret-header", "X-Key: k"),
    )
    draft = read_source("price").draft
    assert (draft.title, draft.feeds[0].title, draft.feeds[0].public) == ("Price, €", "Price, €", False)
    assert (draft.format, draft.timeout_s) == ("csv", 0.5)
    assert draft.headers == {"Accept": "text/csv", "X-Colon": "a:b"}
    assert Source.objects.get().secret_headers == {"X-Key": "k"}


def test_add_source_twice_says_that_it_exists() -> None:
    call_command("add_source", "price", URL)
    with pytest.raises(CommandError, match="a source named price exists already"):
        call_command("add_source", "price", URL)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["Price", URL], "slug"),
        (["price", "ftp://x/"], "url"),
        (["price", "http://10.0.0.1/"], "url"),
        (["price", URL, "--every", "0"], "interval_s"),
        (["price", URL, "--every", "nan"], "interval_s"),
        (["price", URL, "--every", "often"], "--every"),
        (["price", URL, "--extract", "a ||"], "feeds.0.expression"),
        (["price", URL, "--header", "no colon"], "--header"),
        (["price", URL, "--header", "Host: other"], "headers"),
        (["price", URL, "--format", "xml"], "--format"),
    ],
)
def test_add_source_names_what_is_wrong_and_saves_nothing(arguments: list[str], named: str) -> None:
    with pytest.raises(CommandError, match=named):
        call_command("add_source", *arguments)
    assert not Source.objects.exists()
    assert not Feed.objects.exists()


def test_add_feed_makes_a_push_feed() -> None:
    call_command("add_feed", "lab", "--public", "--title", "Lab")
    feed = find_feed("lab")
    assert (feed.title, feed.kind, feed.public, feed.latest_only) == ("Lab", "push", True, False)
    call_command("add_feed", "level", "--latest-only")
    assert find_feed("level").latest_only
    call_command("add_feed", "chat", "--presence", "--join-leave", "--client-publish", "--recovery", "cache")
    chat = find_feed("chat")
    assert (chat.presence, chat.join_leave, chat.client_publish, chat.recovery) == (True, True, True, "cache")
    with pytest.raises(CommandError, match="join_leave: Only together with presence"):
        call_command("add_feed", "room", "--join-leave")
    with pytest.raises(CommandError, match="exists already"):
        call_command("add_feed", "lab")
    with pytest.raises(CommandError, match="slug"):
        call_command("add_feed", "new")


def test_create_token_prints_the_token_alone(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_token", "sensor", "--scope", "read", "--scope", "publish")
    printed = capsys.readouterr()
    token = printed.out.removesuffix("\n")
    principal = principal_for_token(token)
    assert (principal.name, principal.scopes) == ("sensor", {"read", "publish"})
    assert token not in printed.err
    assert "sensor" in printed.err


@pytest.mark.parametrize("arguments", [["sensor"], ["sensor", "--scope", "all"], ["", "--scope", "read"]])
def test_create_token_refuses_what_makes_no_token(arguments: list[Any]) -> None:
    with pytest.raises(CommandError, match=r"scope|name"):
        call_command("create_token", *arguments)
    assert not ApiToken.objects.exists()


def test_create_token_refuses_a_name_that_is_taken() -> None:
    call_command("create_token", "sensor", "--scope", "read")
    with pytest.raises(CommandError, match="already"):
        call_command("create_token", "sensor", "--scope", "read")
