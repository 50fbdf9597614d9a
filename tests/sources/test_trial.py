"""Trying a source: one real request to a local upstream, and nothing written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from realtime.conf import conf
from realtime.errors import InvalidDraft
from realtime.sources.catalog import FeedDraft, SourceDraft, create_source
from realtime.sources.fetch import Fetcher
from realtime.sources.guard import AllowedNetworks
from realtime.sources.trial import try_source, with_secrets
from tests.upstream import Upstream
from tests.upstream_replies import says


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture
def _loopback_allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HEADWATER_ALLOWED_NETWORKS", "127.0.0.1/32")
    conf.cache_clear()
    yield
    monkeypatch.undo()
    conf.cache_clear()


@pytest.fixture
async def fetcher(_loopback_allowed: None) -> AsyncIterator[Fetcher]:
    opened = Fetcher(AllowedNetworks.parse(["127.0.0.1/32"]), limit_bytes=300_000)
    yield opened
    await opened.aclose()


def draft(upstream: Upstream, path: str, *expressions: str, **fields: Any) -> SourceDraft:
    feeds = tuple(FeedDraft("", expression=expression) for expression in expressions)
    return SourceDraft("", upstream.url(path), feeds=feeds, **fields)


async def test_a_trial_shows_the_answer_and_every_value(upstream: Upstream, fetcher: Fetcher) -> None:
    upstream.on("/price", says({"usd": 67123.45, "list": [1, 2]}))
    seen = await try_source(draft(upstream, "/price", "usd", "list[-1]", "length(list)"), fetcher)
    assert (seen.status, seen.content_type, seen.problems) == (200, "application/json", {})
    assert seen.document is not None
    assert json.loads(seen.document) == {"usd": 67123.45, "list": [1, 2]}
    assert seen.values == {0: "67123.45", 1: "2", 2: "2"}
    assert '"usd"' in seen.excerpt
    assert seen.size_bytes == len(seen.excerpt)
    assert seen.duration_ms > 0


async def test_headers_secret_ones_too_and_the_body_are_sent(upstream: Upstream, fetcher: Fetcher) -> None:
    upstream.on("/echo", says({"ok": True}))
    asked = draft(
        upstream, "/echo", method="POST", body="[1]", headers={"X-A": "a"}, secret_headers={"X-B": "b"}
    )
    assert (await try_source(asked, fetcher)).status == 200
    heard = upstream.heard["/echo"][-1]
    assert (heard.method, heard.body) == ("POST", b"[1]")
    assert (heard.headers["x-a"], heard.headers["x-b"]) == ("a", "b")


async def test_one_wrong_expression_leaves_the_others_their_values(
    upstream: Upstream, fetcher: Fetcher
) -> None:
    upstream.on("/price", says({"usd": 1}))
    seen = await try_source(draft(upstream, "/price", "usd", "eur", "usd ||"), fetcher)
    assert seen.values == {0: "1"}
    assert set(seen.problems) == {"feeds.1.expression", "feeds.2.expression"}
    assert seen.document == '{"usd":1}'


@pytest.mark.parametrize(
    ("path", "field", "status"),
    [
        ("/status/500", "url", 500),
        ("/loop", "url", None),
        ("/hangup", "url", None),
        ("/endless", "url", None),
        ("/bomb", "url", None),
        ("/html", "format", 200),
        ("/invalid-utf8", "format", 200),
        ("/nan", "format", 200),
        ("/deep", "format", 200),
    ],
)
async def test_what_goes_wrong_is_said_at_its_field(
    upstream: Upstream, fetcher: Fetcher, path: str, field: str, status: int | None
) -> None:
    seen = await try_source(draft(upstream, path, "a", timeout_s=30), fetcher)
    assert list(seen.problems) == [field]
    assert seen.problems[field]
    assert (seen.status, seen.values) == (status, {})


async def test_an_upstream_that_says_nothing_is_given_up_in_time(
    upstream: Upstream, fetcher: Fetcher
) -> None:
    seen = await try_source(draft(upstream, "/never", timeout_s=0.2), fetcher)
    assert list(seen.problems) == ["url"]
    assert 150 < seen.duration_ms < 20_000


async def test_no_request_is_made_of_a_wrong_draft(upstream: Upstream, fetcher: Fetcher) -> None:
    before = upstream.requests["/price"]
    with pytest.raises(InvalidDraft) as refused:
        await try_source(draft(upstream, "/price", method="HEAD", timeout_s=0, format="xml"), fetcher)
    assert list(refused.value.problems) == ["method", "timeout_s", "format"]
    with pytest.raises(InvalidDraft) as refused:
        await try_source(draft(upstream, "/price", secret_headers={"X-Key": None}), fetcher)
    assert list(refused.value.problems) == ["secret_headers"]
    assert upstream.requests["/price"] == before


async def test_an_address_that_is_not_open_is_refused() -> None:
    with pytest.raises(InvalidDraft) as refused:
        await try_source(SourceDraft("", "http://127.0.0.1:1/"))
    assert refused.value.field == "url"


@pytest.mark.django_db
def test_stored_secrets_are_filled_in_for_the_same_server_alone() -> None:
    stored = SourceDraft(
        "price", "https://upstream.example/", secret_headers={"X-Key": "k"}, feeds=(FeedDraft("price"),)
    )
    create_source(stored)
    kept = replace(stored, url="https://upstream.example/other", secret_headers={"X-Key": None, "X-B": "b"})
    assert with_secrets(kept, "price").secret_headers == {"X-Key": "k", "X-B": "b"}
    elsewhere = replace(kept, url="https://thief.example/")
    assert with_secrets(elsewhere, "price").secret_headers == {"X-Key": None, "X-B": "b"}
    assert with_secrets(kept, "nothing").secret_headers == {"X-Key": None, "X-B": "b"}
