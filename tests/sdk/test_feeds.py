"""Feeds through the official SDKs: `feed:<slug>` is the feed of that slug, with its present value at once."""

from __future__ import annotations

import uuid
from datetime import datetime

import pytest

from tests.delivery.served import furnish, publish
from tests.services import wait_until
from tests.serving import Server
from tests.upstream import Upstream
from tests.upstream_replies import says

from .clients import mint
from .conftest import ALL, JAVASCRIPT, WEBSOCKETS, Clients

LATEST = {"offset": 0, "epoch": ""}


@pytest.fixture
def slug(hub: Server) -> str:
    """A public push feed that nobody else uses."""
    name = f"f{uuid.uuid4().hex}"
    furnish(hub, name)
    return name


def test_a_push_feed_is_heard_from_where_the_client_says(clients: Clients, hub: Server, slug: str) -> None:
    publish(hub, hub.token, slug, {"n": 1})
    publish(hub, hub.token, slug, {"n": 2})
    name = f"feed:{slug}"
    live, all_of_it = clients.open(), clients.open(mint("ana"))
    live.enter()
    assert live.join(name, positioned=True)["stream_position"]["offset"] == 2
    all_of_it.enter()
    assert all_of_it.join(name, since=LATEST)["recovered"]
    publish(hub, hub.token, slug, {"n": 3})
    assert live.values(name, 1) == [{"n": 3}]
    assert all_of_it.values(name, 3) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_polled_feed_comes_with_its_value_and_changes(
    any_client: Clients, hub: Server, upstream: Upstream
) -> None:
    slug = f"p{uuid.uuid4().hex}"
    url = upstream.on("/price", says({"usd": 41}))
    feeds = [{"slug": slug, "expression": "usd", "public": True}]
    hub.call("POST", "/sources", {"slug": slug, "url": url, "interval_s": 1, "feeds": feeds})
    wait_until(lambda: hub.call("GET", f"/feeds/{slug}")["offset"] == 1, "its first value")
    name = f"feed:{slug}"
    everybody = [any_client.open(kind=kind) for kind in ALL]
    for client in everybody:
        client.enter()
        assert client.join(name, since=LATEST, delta="fossil")["recovered"]
        assert client.values(name, 1) == [41]
    upstream.on("/price", says({"usd": 42}))
    for client in everybody:
        assert client.values(name, 1) == [42]
    hub.call("DELETE", f"/sources/{slug}")
    for client in everybody:
        assert client.next("unsubscribed", name)["code"] == 2000


@JAVASCRIPT
def test_whoever_asks_for_all_is_told_when_and_how_well_too(
    clients: Clients, hub: Server, upstream: Upstream
) -> None:
    """How well by messages, which the Python SDK leaves out."""
    slug = f"p{uuid.uuid4().hex}"
    url = upstream.on("/price", says({"usd": 41}))
    feeds = [{"slug": slug, "expression": "usd", "public": True}]
    hub.call("POST", "/sources", {"slug": slug, "url": url, "interval_s": 60, "feeds": feeds})
    wait_until(lambda: hub.call("GET", f"/feeds/{slug}")["offset"] == 1, "its first value")
    name = f"feed:{slug}"
    client = clients.open()
    client.enter()
    assert client.join(name, data={"full": True})["data"]["state"] == "fresh"
    first = client.next("publication", name)
    assert first["data"] == 41
    assert datetime.fromisoformat(first["tags"]["published_at"])
    hub.call("PATCH", f"/sources/{slug}", {"enabled": False})
    message = client.next("message")["data"]
    assert (message["feed"], message["state"]) == (slug, "paused")


@pytest.mark.parametrize("clients", WEBSOCKETS, indirect=True)
def test_a_private_feed_is_for_those_with_a_token_of_it(clients: Clients, hub: Server, slug: str) -> None:
    hub.call("PATCH", f"/feeds/{slug}", {"public": False})
    publish(hub, hub.token, slug, "secret")
    name = f"feed:{slug}"
    stranger, member = clients.open(mint("ana")), clients.open(mint("bo"))
    stranger.enter()
    stranger.subscribe(name)
    assert stranger.next("unsubscribed", name)["code"] in (102, 103)
    member.enter()
    member.join(name, tokens=[mint("bo", channel=name)], since=LATEST)
    assert member.values(name, 1) == ["secret"]


def test_a_feed_takes_nothing_from_clients_unless_it_says_so(clients: Clients, slug: str) -> None:
    name = f"feed:{slug}"
    client = clients.open(mint("ana"))
    client.enter()
    client.join(name)
    assert client.refused("publish", channel=name, data=1) == 103


@pytest.mark.parametrize("clients", ["node json"], indirect=True)
def test_more_than_one_reply_may_hold_is_not_recovered(clients: Clients, hub: Server, slug: str) -> None:
    """Besides the 300 publications of the protocol, 8 million characters."""
    name = f"feed:{slug}"
    for number in range(9):
        publish(hub, hub.token, slug, [number, "x" * 950_000])
    client, near = clients.open(), clients.open()
    client.enter()
    far = client.join(name, since=LATEST)
    assert (far["was_recovering"], far["recovered"], far["stream_position"]["offset"]) == (True, False, 9)
    near.enter()
    epoch = far["stream_position"]["epoch"]
    assert near.join(name, since={"offset": 1, "epoch": epoch})["recovered"]
    publish(hub, hub.token, slug, "after")
    assert client.values(name, 1) == ["after"]
    assert [value[0] for value in near.values(name, 8)] == list(range(1, 9))
    assert near.values(name, 1) == ["after"]
