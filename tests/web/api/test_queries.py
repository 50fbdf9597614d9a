"""Live queries over the API: read by their readers, filled by nobody else, listed to who manages feeds."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from realtime.delivery.watching import Delivery
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds
from tests.on_demand import fill, row_of

from .conftest import Api

pytestmark = pytest.mark.usefixtures("shop")

NAME = "query:open?customer=42"
PATH = f"/api/feeds/{quote(NAME, safe='')}"


@pytest.mark.parametrize(
    "path",
    [
        "/api/feeds/query:open?customer=42",
        PATH,
        f"/api/feeds/{quote('query:open?page=1', safe='')}?customer=42",
    ],
)
async def test_a_query_is_read_by_any_spelling(api: Api, feeds: Feeds, path: str) -> None:
    fill(feeds)
    answer = await api.get(path, who="stranger")
    assert answer.status == 200
    assert (answer.json["slug"], answer.json["kind"], answer.json["offset"]) == (NAME, "query", 1)
    assert (answer.json["data"], answer.json["status"]["state"]) == (NAME, "fresh")


async def test_its_history_takes_the_parameters_of_both(api: Api, feeds: Feeds) -> None:
    fill(feeds, lambda slug: 1)
    await api.get(PATH)
    for value in (2, 3):
        await feeds.store.publish((await row_of(feeds, NAME)).feed_id, value)
    answer = await api.get("/api/feeds/query:open/history?customer=42&limit=2", who="stranger")
    assert answer.json["slug"] == NAME
    assert [each["data"] for each in answer.json["publications"]] == [2, 3]
    answer = await api.get(f"{PATH}/history?before=2")
    assert [each["data"] for each in answer.json["publications"]] == [1]


async def test_who_may_not_read_it_learns_nothing(api: Api, feeds: Feeds) -> None:
    fill(feeds)
    path = "/api/feeds/query:sales?customer=1"
    assert (await api.get(path, who="read token")).status == 200
    # The feed is there now.
    for who in ("stranger", "member", "staff", "publish token"):
        for suffix in ("", "/history"):
            refused = await api.get(f"/api/feeds/query:sales{suffix}?customer=1", who=who)
            unknown = await api.get(f"/api/feeds/query:nothing{suffix}?customer=1", who=who)
            assert (refused.status, refused.error) == (unknown.status, unknown.error) == (404, unknown.error)
    wrong = await api.get("/api/feeds/query:open?customer=x")
    assert (wrong.status, wrong.error["field"]) == (400, "params.customer")


async def test_nothing_else_publishes_to_it_or_changes_it(api: Api, feeds: Feeds) -> None:
    fill(feeds)
    for slug in (PATH, "/api/feeds/query:nothing"):  # whether it is there tells nobody
        assert (await api.post(f"{slug}/publish", {"data": 1}, who="publish token")).status == 409
    await api.get(PATH)
    assert (await api.post(f"{PATH}/publish", {"data": 1})).error["code"] == "conflict"
    assert (await api.patch(PATH, {"public": False})).status == 409
    assert (await row_of(feeds, NAME)).feed.offset == 1


async def test_managers_list_and_delete_them(api: Api, feeds: Feeds) -> None:
    fill(feeds)
    await feeds.database.write(lambda: Feed.objects.create(slug="quotes", title="Quotes", public=True))
    await api.get(PATH)
    for who, slugs in (("staff", [NAME]), ("manage token", [NAME]), ("read token", []), ("stranger", [])):
        answer = await api.get("/api/feeds?kind=query", who=who)
        assert ([feed["slug"] for feed in answer.json["feeds"]], answer.json["total"]) == (slugs, len(slugs))
        everything = await api.get("/api/feeds", who=who)
        assert [feed["slug"] for feed in everything.json["feeds"]] == ["quotes"]
    assert (await api.delete(PATH, who="member")).status == 403
    assert (await api.delete(PATH)).status == 204
    assert (await api.get("/api/feeds?kind=query")).json["total"] == 0
    assert (await api.get(PATH)).json["offset"] == 1  # opened anew


async def test_the_server_api_reads_one_and_publishes_to_none(api: Api, feeds: Feeds) -> None:
    fill(feeds)

    async def ask(method: str, scope: str, **params: object) -> dict[str, Any]:
        key = api.people[f"{scope} token"]["Authorization"].removeprefix("Bearer ")
        answer = await api.call("POST", f"/api/{method}", params, who="stranger", X_API_Key=key)
        content: dict[str, Any] = answer.json
        return content

    past = await ask("history", "manage", channel="query:sales?customer=1", limit=-1)
    assert [pub["data"] for pub in past["result"]["publications"]] == ["query:sales?customer=1"]
    for name in ("query:sales?customer=1", "query:nothing"):
        refused = await ask("publish", "publish", channel=name, data=1)
        assert (refused["error"]["code"], "live query" in refused["error"]["message"]) == (107, True)
    other = await ask("history", "manage", channel="query:open?customer=1&page=1")
    assert other["error"] == {
        "code": 107,
        "message": "channel: the name of this feed is query:open?customer=1",
    }
    assert (await ask("history", "manage", channel="query:nothing"))["error"]["code"] == 102
    assert (await ask("presence", "manage", channel="query:open?customer=1"))["error"]["code"] == 108
    assert await ask("subscribe", "manage", channel="query:open?customer=1", user="7") == {"result": {}}
    await Delivery.current().aclose()
