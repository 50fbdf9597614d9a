"""Who may do what over HTTP: staff, a member, a stranger, and a token of each scope."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from realtime.feeds.catalog import create_feed
from realtime.feeds.models import ApiToken, Feed
from realtime.feeds.runtime import Feeds

from .conftest import Api

EVERYBODY = ("staff", "member", "stranger", "read token", "publish token", "manage token")
READERS = {"staff", "member", "read token", "manage token"}
PUBLISHERS = {"staff", "publish token"}
MANAGERS = {"staff", "manage token"}

SOURCE = {"slug": "price", "url": "https://upstream.example/", "feeds": [{"slug": "price"}]}
WRITES: list[tuple[str, str, Any, set[str]]] = [
    ("POST", "/api/feeds", {"slug": "another"}, MANAGERS),
    ("PATCH", "/api/feeds/lab", {"title": "Mine"}, MANAGERS),
    ("DELETE", "/api/feeds/lab", None, MANAGERS),
    ("POST", "/api/feeds/lab/publish", {"data": 1}, PUBLISHERS),
    ("POST", "/api/sources", SOURCE, MANAGERS),
    ("GET", "/api/sources", None, MANAGERS),
    ("GET", "/api/sources/none", None, MANAGERS),
    ("PATCH", "/api/sources/none", {"title": "Mine"}, MANAGERS),
    ("DELETE", "/api/sources/none", None, MANAGERS),
    ("POST", "/api/sources/none/poll", None, MANAGERS),
    ("POST", "/api/sources/try", {"url": "ftp://nowhere"}, MANAGERS),
]


async def two_feeds(feeds: Feeds) -> None:
    await feeds.database.write(partial(create_feed, "lab"))
    await feeds.database.write(partial(create_feed, "weather", public=True))


@pytest.mark.parametrize("who", EVERYBODY)
async def test_private_feeds_are_read_by_those_who_may_and_unknown_to_others(
    api: Api, feeds: Feeds, who: str
) -> None:
    await two_feeds(feeds)
    listed = await api.get("/api/feeds", who=who)
    assert [feed["slug"] for feed in listed.json["feeds"]] == (["lab"] if who in READERS else []) + [
        "weather"
    ]
    assert listed.json["total"] == len(listed.json["feeds"])
    for path in ("/api/feeds/lab", "/api/feeds/lab/history"):
        private = await api.get(path, who=who)
        unknown = await api.get(path.replace("lab", "nothing"), who=who)
        assert unknown.status == 404
        if who in READERS:
            assert private.status == 200
        else:
            assert (private.status, private.json) == (404, unknown.json)
        assert (await api.get(path.replace("lab", "weather"), who=who)).status == 200


@pytest.mark.parametrize("who", EVERYBODY)
@pytest.mark.parametrize(("method", "path", "body", "allowed"), WRITES)
async def test_only_those_with_the_scope_get_in(
    api: Api, feeds: Feeds, who: str, method: str, path: str, body: Any, allowed: set[str]
) -> None:
    await two_feeds(feeds)
    answer = await api.call(method, path, body, who=who)
    if who in allowed:
        assert answer.status not in (401, 403)
        return
    assert answer.status == (401 if who == "stranger" else 403)
    assert answer.error["code"] == ("not_signed_in" if who == "stranger" else "not_allowed")
    untouched = await feeds.database.read(lambda: Feed.objects.get(slug="lab"))
    assert (untouched.title, untouched.offset) == ("lab", 0)


async def test_a_stranger_learns_nothing_of_the_body_before_signing_in(api: Api) -> None:
    refused = await api.call("POST", "/api/feeds", b"{", who="stranger")
    assert refused.status == 401
    assert refused.response["WWW-Authenticate"].startswith("Bearer")


async def test_a_token_that_is_no_good_is_refused_even_for_public_feeds(api: Api, feeds: Feeds) -> None:
    await two_feeds(feeds)
    assert (await api.get("/api/feeds/weather", who="forger")).error["code"] == "not_signed_in"
    await feeds.database.write(lambda: ApiToken.objects.filter(name="read").update(revoked=True))
    assert (await api.get("/api/feeds/weather", who="read token")).status == 401


async def test_a_token_in_the_address_is_not_looked_at(api: Api, feeds: Feeds) -> None:
    await two_feeds(feeds)
    token = api.people["read token"]["Authorization"].removeprefix("Bearer ")
    assert (await api.get(f"/api/feeds/lab?token={token}", who="stranger")).status == 404


async def test_a_session_writes_only_with_its_csrf_token(api: Api, feeds: Feeds) -> None:
    await two_feeds(feeds)
    refused = await api.post("/api/feeds/lab/publish", {"data": 1}, who="staff without CSRF")
    assert refused.status == 403
    assert "X-CSRFToken" in refused.error["message"]
    assert (await api.get("/api/feeds/lab", who="staff without CSRF")).status == 200
