"""Feeds over HTTP: what is listed, read, made, changed and deleted."""

from __future__ import annotations

from functools import partial

from realtime.feeds.catalog import create_feed
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds

from .conftest import Api


async def test_a_feed_is_made_and_read(api: Api) -> None:
    made = await api.post(
        "/api/feeds", {"slug": "lab", "title": "Lab, °C", "retention_count": 5, "latest_only": True}
    )
    assert made.status == 201
    assert made.response["Location"] == "/api/feeds/lab"
    read = await api.get("/api/feeds/lab")
    assert read.status == 200
    assert read.json == made.json
    epoch = read.json.pop("epoch")
    assert len(epoch) == 8
    assert read.json == {
        "slug": "lab",
        "title": "Lab, °C",
        "kind": "push",
        "public": False,
        "latest_only": True,
        "presence": False,
        "join_leave": False,
        "client_publish": False,
        "recovery": "stream",
        "retention_count": 5,
        "retention_age_s": None,
        "offset": 0,
        "status": {"state": "fresh", "last_ok_at": None, "next_poll_at": None, "error": ""},
        "published_at": None,
        "data": None,
    }


async def test_a_feed_shows_its_newest_value_as_it_was_published(api: Api) -> None:
    await api.post("/api/feeds", {"slug": "lab"})
    value = {"b": [1, 2.5, None], "a": "ü\u2028<script>"}
    await api.post("/api/feeds/lab/publish", {"data": value})
    read = await api.get("/api/feeds/lab")
    assert read.json["data"] == value
    assert list(read.json["data"]) == ["b", "a"]
    assert read.json["offset"] == 1
    assert read.json["published_at"].endswith("Z")
    assert read.json["status"]["last_ok_at"] is not None


async def test_the_list_is_filtered_and_paged_by_name(api: Api, feeds: Feeds) -> None:
    for slug, title in (("c-three", "Drei"), ("a-one", "Eins"), ("b-two", "Zwei")):
        await feeds.database.write(partial(create_feed, slug, title=title))
    everything = await api.get("/api/feeds")
    assert [feed["slug"] for feed in everything.json["feeds"]] == ["a-one", "b-two", "c-three"]
    assert "data" not in everything.json["feeds"][0]
    page = await api.get("/api/feeds?limit=1&skip=1")
    assert [feed["slug"] for feed in page.json["feeds"]] == ["b-two"]
    assert page.json["total"] == 3
    found = await api.get("/api/feeds?search=DREI&kind=push")
    assert [feed["slug"] for feed in found.json["feeds"]] == ["c-three"]
    assert (await api.get("/api/feeds?kind=source")).json == {"feeds": [], "total": 0}


async def test_a_change_leaves_what_was_not_sent(api: Api) -> None:
    await api.post("/api/feeds", {"slug": "lab", "title": "Lab", "retention_count": 5})
    changed = await api.patch("/api/feeds/lab", {"public": True, "retention_age_s": 60})
    assert changed.status == 200
    assert changed.json["title"] == "Lab"
    assert (changed.json["public"], changed.json["latest_only"]) == (True, False)
    assert (changed.json["retention_count"], changed.json["retention_age_s"]) == (5, 60)
    assert (await api.patch("/api/feeds/lab", {"latest_only": True})).json["latest_only"] is True
    forgotten = await api.patch("/api/feeds/lab", {"retention_count": None})
    assert forgotten.json["retention_count"] is None
    rules = {"presence": True, "join_leave": True, "client_publish": True, "recovery": "cache"}
    changed = await api.patch("/api/feeds/lab", rules)
    assert {name: changed.json[name] for name in rules} == rules
    refused = await api.patch("/api/feeds/lab", {"presence": False, "recovery": "never"})
    assert refused.status == 400
    assert refused.error["field"] == "join_leave"
    assert "recovery: " in refused.error["message"]


async def test_a_deleted_feed_is_gone(api: Api) -> None:
    await api.post("/api/feeds", {"slug": "lab"})
    gone = await api.delete("/api/feeds/lab")
    assert (gone.status, gone.response.content) == (204, b"")
    assert (await api.get("/api/feeds/lab")).status == 404
    assert (await api.delete("/api/feeds/lab")).error["code"] == "not_found"


async def test_a_taken_name_is_a_conflict(api: Api) -> None:
    await api.post("/api/feeds", {"slug": "lab"})
    refused = await api.post("/api/feeds", {"slug": "lab", "title": "Another"})
    assert refused.status == 409
    assert refused.error["field"] == "slug"
    assert (await api.get("/api/feeds/lab")).json["title"] == "lab"


async def test_a_feed_that_a_source_fills_is_not_deleted_here(api: Api, feeds: Feeds) -> None:
    await feeds.database.write(partial(Feed.objects.create, slug="polled", title="Polled", kind="source"))
    assert (await api.delete("/api/feeds/polled")).status == 409
    assert (await api.get("/api/feeds/polled")).status == 200
    assert (await api.patch("/api/feeds/polled", {"public": True})).json["public"] is True


async def test_a_read_that_is_still_true_is_not_sent_again(api: Api) -> None:
    await api.post("/api/feeds", {"slug": "lab"})
    first = await api.get("/api/feeds/lab")
    etag = first.response["ETag"]
    assert first.response["Cache-Control"] == "private, no-cache"
    for path in ("/api/feeds/lab", "/api/feeds", "/api/feeds/lab/history"):
        etag = (await api.get(path)).response["ETag"]
        again = await api.get(path, if_none_match=f'W/"other", W/{etag}')
        assert (again.status, again.response.content) == (304, b"")
        assert again.response["ETag"] == etag
    etag = first.response["ETag"]
    await api.patch("/api/feeds/lab", {"title": "Changed"})
    assert (await api.get("/api/feeds/lab", if_none_match=etag)).status == 200


async def test_head_is_answered_like_get(api: Api) -> None:
    await api.post("/api/feeds", {"slug": "lab"})
    head = await api.call("HEAD", "/api/feeds/lab")
    assert head.status == 200
    assert head.response["ETag"] == (await api.get("/api/feeds/lab")).response["ETag"]
