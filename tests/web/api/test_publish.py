"""Publishing over HTTP: answered after the commit, with the position."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from realtime.conf import conf
from realtime.feeds.models import Feed, JournalEntry
from realtime.feeds.runtime import Feeds

from .conftest import Api


async def test_a_publication_is_committed_before_it_is_answered(api: Api, feeds: Feeds) -> None:
    made = await api.post("/api/feeds", {"slug": "lab"})
    published = await api.post("/api/feeds/lab/publish", {"data": {"celsius": 21.5}}, who="publish token")
    assert published.status == 201
    assert published.json == {"epoch": made.json["epoch"], "offset": 1}
    kept = await feeds.database.read(lambda: JournalEntry.objects.get(feed__slug="lab"))
    assert (kept.offset, kept.data) == (1, '{"celsius":21.5}')


async def test_an_unchanged_value_is_no_new_publication(api: Api) -> None:
    await api.post("/api/feeds", {"slug": "lab"})
    first = await api.post("/api/feeds/lab/publish", {"data": 1})
    again = await api.post("/api/feeds/lab/publish", {"data": 1})
    assert (first.status, again.status) == (201, 200)
    assert again.json == first.json


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, "ü", [[1]], 2**70, -0.0, "\x00"])
async def test_any_json_is_a_value(api: Api, value: Any) -> None:
    await api.post("/api/feeds", {"slug": "lab"})
    assert (await api.post("/api/feeds/lab/publish", {"data": value})).status == 201
    assert (await api.get("/api/feeds/lab")).json["data"] == value


async def test_concurrent_publications_get_offsets_without_holes(api: Api) -> None:
    await api.post("/api/feeds", {"slug": "lab"})
    calls = [api.post("/api/feeds/lab/publish", {"data": n}, who="publish token") for n in range(20)]
    answers = await asyncio.gather(*calls)
    assert sorted(answer.json["offset"] for answer in answers) == list(range(1, 21))


async def test_nothing_is_published_to_a_feed_that_a_source_fills(api: Api, feeds: Feeds) -> None:
    await feeds.database.write(partial(Feed.objects.create, slug="polled", title="Polled", kind="source"))
    refused = await api.post("/api/feeds/polled/publish", {"data": 1})
    assert refused.status == 409
    assert refused.error["code"] == "conflict"


async def test_a_channel_is_published_to_read_listed_and_deleted_by_its_name(api: Api, feeds: Feeds) -> None:
    await feeds.database.write(
        partial(Feed.objects.create, slug="chat:a b#1", title="chat:a b#1", kind="channel")
    )
    address = "/api/feeds/chat:a%20b%231"
    published = [
        await api.post(f"{address}/publish", {"data": "hello"}, who="publish token") for _ in range(2)
    ]
    assert [(answer.status, answer.json["offset"]) for answer in published] == [(201, 1), (201, 2)]
    assert (await api.post(f"{address}/publish", {"data": 1}, who="read token")).status == 403
    read = await api.get(address, who="read token")
    assert (read.json["kind"], read.json["data"], read.json["offset"]) == ("channel", "hello", 2)
    history = await api.get(f"{address}/history", who="read token")
    assert [each["data"] for each in history.json["publications"]] == ["hello", "hello"]
    for who in ("member", "stranger", "publish token"):
        assert (await api.get(address, who=who)).status == 404
    assert (await api.get("/api/feeds")).json["feeds"] == []
    listed = (await api.get("/api/feeds?kind=channel")).json["feeds"]
    assert [feed["slug"] for feed in listed] == ["chat:a b#1"]
    assert (await api.post("/api/feeds", {"slug": "chat:b"})).error["field"] == "slug"
    assert (await api.patch(address, {"public": True})).status == 409
    assert (await api.delete(address)).status == 204


async def test_an_unknown_feed_is_not_found(api: Api) -> None:
    refused = await api.post("/api/feeds/nothing/publish", {"data": 1})
    assert refused.status == 404
    assert refused.error["field"] == "slug"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[1]", "body"),
        (b"7", "body"),
        (b"{}", "data"),
        (b'{"data": 1, "dta": 2}', "dta"),
        (b'{"data": NaN}', "body"),
        (b'{"data": -Infinity}', "body"),
        (b'{"data": 1e400}', "body"),
        (b'{"data": ' + b"9" * 5000 + b"}", "body"),
        (b'{"data": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "body"),
        (b'{"data": "\xff"}', "body"),
        (b'{"data": "\\ud800"}', "data"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_what_is_no_json_value_is_refused_by_name(api: Api, body: bytes, field: str) -> None:
    await api.post("/api/feeds", {"slug": "lab"})
    refused = await api.call("POST", "/api/feeds/lab/publish", body)
    assert refused.status == 400
    assert refused.error["field"] == field
    assert (await api.get("/api/feeds/lab")).json["offset"] == 0


async def test_a_value_past_the_limit_is_too_large(api: Api) -> None:
    await api.post("/api/feeds", {"slug": "lab"})
    refused = await api.post("/api/feeds/lab/publish", {"data": "x" * conf().value_limit_bytes})
    assert (refused.status, refused.error["code"], refused.error["field"]) == (413, "too_large", "data")


async def test_a_body_past_the_limit_is_too_large(api: Api) -> None:
    await api.post("/api/feeds", {"slug": "lab"})
    refused = await api.call("POST", "/api/feeds/lab/publish", b" " * (conf().body_limit_bytes + 1))
    assert (refused.status, refused.error["code"], refused.error["field"]) == (413, "too_large", "body")
