"""Channels through the official SDKs: publications, recovery, deltas, presence, tokens of their own."""

from __future__ import annotations

from typing import Any

import pytest

from .clients import Client, mint
from .conftest import WEBSOCKETS, Clients, MakeChannel

VALUES: list[Any] = [
    {"a": [1, 2.5, None, True], "ü": "日本 \U0001f30a \u2028"},
    "text",
    0,
    [],
    {"b": {"c": '\\ " \n'}},
]


def publish(client: Client, channel: str, values: list[Any]) -> None:
    for value in values:
        client.call("publish", channel=channel, data=value)


def test_what_one_client_publishes_all_hear_in_order(clients: Clients, channel: MakeChannel) -> None:
    """The other one is of another SDK and codec."""
    name = channel()
    client, other = clients.open(mint("ana")), clients.open(mint("bo"), kind="python protobuf")
    for each in (client, other):
        each.enter()
        each.join(name)
    publish(client, name, VALUES)
    for each in (client, other):
        first = each.next("publication", name)
        assert (first["data"], first["offset"], first["info"]["user"]) == (VALUES[0], 1, "ana")
        assert each.values(name, len(VALUES) - 1) == VALUES[1:]


def test_what_was_missed_while_away_is_recovered(clients: Clients, channel: MakeChannel) -> None:
    name = channel()
    client, other = clients.open(mint("ana")), clients.open(mint("bo"))
    for each in (client, other):
        each.enter()
        assert not each.join(name)["was_recovering"]
    publish(other, name, VALUES)
    assert client.values(name, len(VALUES)) == VALUES
    client.call("disconnect")
    publish(other, name, VALUES)
    client.call("connect")
    back = client.next("subscribed", name)
    assert (back["was_recovering"], back["recovered"]) == (True, True)
    assert client.values(name, len(VALUES)) == VALUES
    publish(other, name, ["live"])
    assert client.values(name, 1) == ["live"]


def test_a_position_that_history_has_left_behind_is_not_recovered(
    clients: Clients, channel: MakeChannel
) -> None:
    name = channel("small")
    client, other = clients.open(mint("ana")), clients.open(mint("bo"))
    for each in (client, other):
        each.enter()
        each.join(name)
    client.call("disconnect")
    publish(other, name, [1, 2, 3])
    client.call("connect")
    back = client.next("subscribed", name)
    assert (back["was_recovering"], back["recovered"], back["stream_position"]["offset"]) == (True, False, 3)
    publish(other, name, [4])
    assert client.values(name, 1) == [4]


@pytest.mark.parametrize("delta", ["", "fossil"])
def test_deltas_come_to_those_who_ask_and_give_the_same_values(
    clients: Clients, channel: MakeChannel, delta: str
) -> None:
    name = channel()
    long = [{"text": "日本 and " * 40 + str(number), "n": number} for number in range(4)]
    client, other = clients.open(mint("ana")), clients.open(mint("bo"))
    other.enter()
    other.join(name)
    publish(other, name, long[-1:])  # which the client has not: it cannot be the base of its first
    client.enter()
    client.join(name, **({"delta": delta} if delta else {}))
    publish(other, name, long)
    assert client.values(name, 4) == long
    assert client.call("delta_count", channel=name) == (3 if delta else 0)
    client.call("disconnect")
    publish(other, name, long)
    client.call("connect")
    assert client.next("subscribed", name)["recovered"]
    publish(other, name, long)
    assert client.values(name, 8) == long + long
    # Of what was recovered the first is whole again.
    assert client.call("delta_count", channel=name) == (3 + 3 + 4 if delta else 0)


def test_history_is_read_in_pages_both_ways(clients: Clients, channel: MakeChannel) -> None:
    name = channel()
    client = clients.open(mint("ana"))
    client.enter()
    client.join(name)
    publish(client, name, [1, 2, 3])
    top = client.call("history", channel=name, limit=0)
    assert (top["publications"], top["offset"]) == ([], 3)
    everything = client.call("history", channel=name, limit=-1)
    assert [each["data"] for each in everything["publications"]] == [1, 2, 3]
    assert everything["publications"][0]["info"]["user"] == "ana"
    since = {"offset": 1, "epoch": top["epoch"]}
    page = client.call("history", channel=name, limit=1, since=since)
    assert [(each["offset"], each["data"]) for each in page["publications"]] == [(2, 2)]
    backwards = client.call("history", channel=name, limit=2, reverse=True)
    assert [each["data"] for each in backwards["publications"]] == [3, 2]
    assert client.refused("history", channel=name, limit=1, since={"offset": 1, "epoch": "other"}) == 112


def test_who_is_there_is_known_and_told(clients: Clients, channel: MakeChannel) -> None:
    name = channel("chat")
    client, other = clients.open(mint("ana", info={"name": "Ana"})), clients.open(mint("bo"))
    ana = client.enter()["client"]
    client.join(name)
    assert client.next("join", name)["info"]["client"] == ana
    bo = other.enter()["client"]
    other.join(name)
    assert client.next("join", name)["info"]["user"] == "bo"
    present = client.call("presence", channel=name)["clients"]
    assert {key: info["user"] for key, info in present.items()} == {ana: "ana", bo: "bo"}
    assert present[ana]["conn_info"] == {"name": "Ana"}
    assert client.call("presence_stats", channel=name) == {"num_clients": 2, "num_users": 2}
    other.call("unsubscribe", channel=name)
    assert client.next("leave", name)["info"]["client"] == bo
    other.join(name)
    client.next("join", name)
    other.call("disconnect")
    assert client.next("leave", name)["info"]["client"] == bo
    assert list(client.call("presence", channel=name)["clients"]) == [ana]


def test_joins_are_told_to_those_who_asked_where_that_is_the_rule(
    clients: Clients, channel: MakeChannel
) -> None:
    name = channel("asked")
    curious, other = clients.open(mint("ana")), clients.open(mint("bo"))
    curious.enter()
    curious.join(name, join_leave=True)
    assert curious.next("join", name)["info"]["user"] == "ana"
    other.enter()
    other.join(name)
    assert curious.next("join", name)["info"]["user"] == "bo"
    publish(other, name, [1])
    assert other.values(name, 1) == [1]
    assert "join" not in other.heard.kinds()


def test_the_server_subscribes_a_user_to_its_personal_channel(clients: Clients, channel: MakeChannel) -> None:
    user = channel()
    name = f"#{user}"
    client, other = clients.open(mint(user)), clients.open(mint(user))
    for each in (client, other):
        each.enter()
        assert each.next("server_subscribed", name)["recoverable"]
    publish(other, name, [1, 2])
    assert client.values(name, 2, kind="server_publication") == [1, 2]
    client.call("disconnect")
    publish(other, name, [3])
    client.enter()
    assert client.next("server_subscribed", name)["recovered"]
    assert client.values(name, 1, kind="server_publication") == [3]


def test_a_closed_channel_opens_by_a_token_of_its_own(clients: Clients, channel: MakeChannel) -> None:
    name = channel("closed")
    client = clients.open(mint("ana"))
    client.enter()
    client.subscribe(name)
    assert client.next("unsubscribed", name)["code"] == 103
    other = clients.open(mint("ana"))
    other.enter()
    tokens = [mint("ana", channel=name, lives_s=-100), mint("ana", channel=name)]
    other.join(name, tokens=tokens)
    assert other.heard.kinds().count("token") == 3  # one for the connection


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (lambda name: mint("ana", channel=name, secret="another"), 103),
        (lambda name: mint("ana", channel=f"{name}-other"), 3500),
        (lambda name: mint("bo", channel=name), 3500),
        (lambda name: mint("ana", channel=name, client="another"), 3500),
    ],
)
@pytest.mark.parametrize("clients", ["python json", "node json"], indirect=True)
def test_a_wrong_subscription_token_is_refused(
    clients: Clients, channel: MakeChannel, token: Any, code: int
) -> None:
    name = channel("closed")
    client = clients.open(mint("ana"))
    client.enter()
    client.subscribe(name, tokens=[token(name)])
    ended = client.next("disconnected") if code >= 3000 else client.next("unsubscribed", name)
    assert ended["code"] == code


@pytest.mark.parametrize("clients", WEBSOCKETS, indirect=True)
def test_an_unknown_channel_is_refused(clients: Clients, channel: MakeChannel) -> None:
    client = clients.open(mint("ana"))
    client.enter()
    for name in (channel("nowhere"), channel("feed")):
        client.subscribe(name)
        assert client.next("unsubscribed", name)["code"] == 102
