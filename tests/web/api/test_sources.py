"""Sources over HTTP: made, read, changed, deleted, polled now, and tried without saving."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from realtime.conf import conf
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds
from realtime.sources.models import Source
from tests.upstream import Upstream
from tests.upstream_replies import says

from .conftest import Api

PRICE = {
    "slug": "price",
    "url": "https://upstream.example/v1",
    "interval_s": 2.5,
    "headers": {"Accept": "application/json"},
    "secret_headers": {"Authorization": "Bearer s3cret"},
    "feeds": [{"slug": "price", "expression": "usd", "public": True}],
}


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """A local upstream that requests may reach."""
    with Upstream() as server:
        monkeypatch.setenv("HEADWATER_ALLOWED_NETWORKS", f"127.0.0.1/32:{server.port}")
        conf.cache_clear()
        yield server
    monkeypatch.undo()
    conf.cache_clear()


async def test_a_source_is_made_and_read_without_its_secrets(api: Api) -> None:
    made = await api.post("/api/sources", PRICE)
    assert made.status == 201
    assert made.response["Location"] == "/api/sources/price"
    read = await api.get("/api/sources/price", who="manage token")
    assert read.json == made.json
    assert read.json.pop("next_poll_at").endswith("Z")
    assert read.json == {
        "slug": "price",
        "url": "https://upstream.example/v1",
        "title": "price",
        "method": "GET",
        "body": "",
        "headers": {"Accept": "application/json"},
        "secret_headers": {"Authorization": None},
        "interval_s": 2.5,
        "timeout_s": 10.0,
        "format": "json",
        "enabled": True,
        "feeds": [{"slug": "price", "title": "price", "expression": "usd", "public": True}],
        "last_polled_at": None,
        "last_duration_ms": None,
        "failures": 0,
        "last_error": "",
    }
    assert (await api.get("/api/feeds/price")).json["status"]["state"] == "stale"
    listed = await api.get("/api/sources?search=V1")
    assert [source["slug"] for source in listed.json["sources"]] == ["price"]
    assert b"s3cret" not in listed.response.content + read.response.content


async def test_what_was_read_can_be_sent_back_and_keeps_the_secrets(api: Api, feeds: Feeds) -> None:
    await api.post("/api/sources", PRICE)
    read = (await api.get("/api/sources/price")).json
    fields = set(PRICE) | {"title", "method", "body", "timeout_s", "format", "enabled"}
    same = {name: value for name, value in read.items() if name in fields}
    changed = await api.patch("/api/sources/price", same | {"interval_s": 5})
    assert changed.status == 200
    assert changed.json["interval_s"] == 5
    stored = await feeds.database.read(lambda: Source.objects.get().secret_headers)
    assert stored == {"Authorization": "Bearer s3cret"}


async def test_a_change_leaves_what_was_not_sent_and_may_rename(api: Api) -> None:
    await api.post("/api/sources", PRICE)
    changed = await api.patch("/api/sources/price", {"slug": "prices", "enabled": False})
    assert (changed.json["slug"], changed.json["enabled"], changed.json["interval_s"]) == (
        "prices",
        False,
        2.5,
    )
    assert (await api.get("/api/sources/price")).status == 404
    assert (await api.get("/api/feeds/price")).json["status"]["state"] == "paused"


async def test_poll_now_is_refused_while_disabled(api: Api) -> None:
    await api.post("/api/sources", PRICE)
    due = await api.post("/api/sources/price/poll")
    assert (due.status, list(due.json)) == (202, ["next_poll_at"])
    await api.patch("/api/sources/price", {"enabled": False})
    assert (await api.post("/api/sources/price/poll")).error["code"] == "conflict"


async def test_a_deleted_source_takes_its_feeds_with_it(api: Api) -> None:
    await api.post("/api/sources", PRICE)
    assert (await api.delete("/api/sources/price")).status == 204
    assert (await api.get("/api/sources/price")).status == 404
    assert (await api.get("/api/feeds/price")).status == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "http://127.0.0.1:1/"}, "url"),
        ({"url": 5}, "url"),
        ({"interval_s": 0}, "interval_s"),
        ({"interval_s": "5"}, "interval_s"),
        ({"interval_s": 10**400}, "interval_s"),
        ({"timeout_s": True}, "timeout_s"),
        ({"format": "xml"}, "format"),
        ({"headers": {"A": 1}}, "headers.A"),
        ({"headers": []}, "headers"),
        ({"headers": {"": "x"}}, "headers"),
        ({"secret_headers": {"Authorization": "line\nbreak"}}, "secret_headers"),
        ({"feeds": [{"slug": "a", "expression": "usd ||"}]}, "feeds.0.expression"),
        ({"feeds": [{"slug": "a"}, {"expression": "b"}]}, "feeds.1.slug"),
        ({"feeds": []}, "feeds"),
        ({"next_poll_at": "now"}, "next_poll_at"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_saved(
    api: Api, feeds: Feeds, change: dict[str, Any], field: str
) -> None:
    refused = await api.post("/api/sources", PRICE | change)
    assert refused.status == 400
    assert refused.error["field"] == field
    assert not await feeds.database.read(lambda: Source.objects.exists() or Feed.objects.exists())
    await api.post("/api/sources", PRICE)
    before = await api.get("/api/sources/price")
    assert (await api.patch("/api/sources/price", change)).error["field"] == field
    assert (await api.get("/api/sources/price")).json == before.json


async def test_a_taken_name_is_a_conflict_at_its_field(api: Api) -> None:
    await api.post("/api/feeds", {"slug": "price"})
    refused = await api.post("/api/sources", PRICE)
    assert (refused.status, refused.error["field"]) == (409, "feeds.0.slug")
    assert (await api.get("/api/sources")).json["total"] == 0


async def test_trying_saves_nothing_and_shows_every_value(api: Api, upstream: Upstream) -> None:
    upstream.on("/price", says({"usd": 1.5, "name": "<b>"}))
    body = {"url": upstream.url("/price"), "feeds": [{"slug": "a", "expression": "usd"}, {"slug": "b"}]}
    body["feeds"].append({"slug": "", "expression": "eur"})  # type: ignore[attr-defined]
    tried = await api.post("/api/sources/try", body)
    assert tried.status == 200
    assert tried.json["status"] == 200
    assert tried.json["document"] == {"usd": 1.5, "name": "<b>"}
    assert tried.json["values"] == [1.5, {"usd": 1.5, "name": "<b>"}, None]
    assert list(tried.json["problems"]) == ["feeds.2.expression"]
    assert (await api.get("/api/sources")).json["total"] == 0


async def test_trying_uses_the_stored_secrets_of_the_source_it_names(api: Api, upstream: Upstream) -> None:
    upstream.on("/price", says({"usd": 1}))
    await api.post("/api/sources", PRICE | {"url": upstream.url("/price")})
    kept = {"slug": "price", "url": upstream.url("/price"), "secret_headers": {"Authorization": None}}
    assert (await api.post("/api/sources/try", kept)).status == 200
    assert upstream.heard["/price"][-1].headers["authorization"] == "Bearer s3cret"
    refused = await api.post("/api/sources/try", kept | {"slug": "other"})
    assert refused.error["field"] == "secret_headers"


async def test_what_an_upstream_does_wrong_is_an_answer_and_no_error(api: Api, upstream: Upstream) -> None:
    for path in ("/status/503", "/html", "/hangup", "/bomb"):
        tried = await api.post("/api/sources/try", {"url": upstream.url(path), "timeout_s": 2})
        assert tried.status == 200
        assert tried.json["problems"]
