"""The official SDKs come in, stay beyond their tokens, and are told why they may not."""

from __future__ import annotations

import pytest

from .clients import mint
from .conftest import ALL, JAVASCRIPT, Clients, MakeChannel

ONE = pytest.mark.parametrize("clients", ["python json", "node json"], indirect=True)


def test_a_client_is_told_its_name(clients: Clients) -> None:
    client, other = clients.open(mint("ana")), clients.open()
    assert client.enter()["client"] != other.enter()["client"]


def test_an_expired_token_is_asked_for_anew(clients: Clients) -> None:
    client = clients.open(mint("ana", lives_s=-100), mint("ana"))
    client.enter()
    assert client.heard.kinds().count("token") == 2


def test_clients_stay_beyond_the_life_of_their_tokens(any_client: Clients, channel: MakeChannel) -> None:
    name = channel("closed")
    everybody = []
    for kind in ALL:
        client = any_client.open(mint("ana", lives_s=5), mint("ana"), kind=kind)
        client.enter()
        client.join(name, tokens=[mint("ana", channel=name, lives_s=5), mint("ana", channel=name)])
        everybody.append(client)
    for client in everybody:
        for asked in ("", name):
            client.next("token", asked)
            client.next("token", asked)
        # Answered after the refreshes, which would have ended all had they been refused.
        client.refused("rpc", method="none", data=None)
        kinds = client.heard.kinds()
        assert kinds.count("connecting") == kinds.count("subscribing") == 1
        assert not {"disconnected", "unsubscribed", "error"} & set(kinds)


@pytest.mark.parametrize("token", [mint("ana", secret="another"), mint("ana", channel="x"), "nonsense"])
@ONE
def test_a_wrong_token_ends_it_for_good(clients: Clients, token: str) -> None:
    client = clients.open(token)
    client.call("connect")
    assert client.next("disconnected")["code"] == 3500


def test_a_method_that_nobody_registered_is_not_available(clients: Clients) -> None:
    client = clients.open(mint("ana"))
    client.enter()
    assert client.refused("rpc", method="none", data={"a": 1}) == 108


@JAVASCRIPT
def test_a_message_that_nobody_takes_ends_it_for_good(clients: Clients) -> None:
    client = clients.open(mint("ana"))
    client.enter()
    client.call("send", data={"a": 1})
    ended = client.next("disconnected")
    assert ended["code"] == 3508
    assert ended["reason"]
