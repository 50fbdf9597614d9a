"""Live queries through the official SDKs: the present value at once, then every change, whoever makes it."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
import uuid
from contextlib import closing

import pytest

from tests.serving import Server, Template

from .clients import mint
from .conftest import ALL, Clients

LATEST = {"offset": 0, "epoch": ""}


@pytest.fixture
def customer(hub: Server) -> int:
    """A customer of the example app, whom nobody else uses."""
    return write(hub, "INSERT INTO orders_customer (name) VALUES (?)", uuid.uuid4().hex)


def write(hub: Server, sql: str, *values: object) -> int:
    """As another program would, past Django; the new row's key."""
    with closing(sqlite3.connect(hub.data_dir / "headwater.sqlite3", timeout=30)) as connection:
        key = connection.execute(sql, values).lastrowid
        connection.commit()
    assert key is not None
    return key


def order(hub: Server, customer: int, note: str) -> int:
    return write(
        hub,
        "INSERT INTO orders_order (customer_id, total, open, note, created_at)"
        " VALUES (?, 5, 1, ?, '2026-01-01')",
        customer,
        note,
    )


def page_token(hub: Server, session: str) -> str:
    """What a page of the user with this session connects with."""
    request = urllib.request.Request(
        f"{hub.url}/connection/token", headers={"Cookie": f"sessionid={session}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        token: str = json.load(answer)["token"]
    return token


def test_every_sdk_has_the_present_rows_and_then_every_change(
    any_client: Clients, hub: Server, customer: int
) -> None:
    name = f"query:open-orders?customer={customer}"
    order(hub, customer, "first")
    everybody = [any_client.open(mint("ana"), kind=kind) for kind in ALL]
    for client in everybody:
        client.enter()
        joined = client.join(name, tokens=[mint("ana", channel=name)], since=LATEST, delta="fossil")
        assert joined["recovered"]
        (rows,) = client.values(name, 1)
        assert [row["note"] for row in rows] == ["first"]
    order(hub, customer, "second")
    for client in everybody:
        (rows,) = client.values(name, 1)
        assert [row["note"] for row in rows] == ["first", "second"]


@pytest.mark.parametrize("clients", ["python json", "node protobuf"], indirect=True)
def test_who_may_subscribe_is_for_the_query_to_say(
    clients: Clients, hub: Server, customer: int, serving_template: Template
) -> None:
    name = f"query:open-orders?customer={customer}"
    stranger, staff = clients.open(mint("1")), clients.open(page_token(hub, serving_template.session))
    stranger.enter()
    stranger.subscribe(name)
    assert stranger.next("unsubscribed", name)["code"] == 102
    staff.enter()
    staff.join(name, since=LATEST)
    assert staff.values(name, 1) == [[]]
    other = f"query:open-orders?customer=0{customer}"
    staff.subscribe(other)
    refused = staff.next("unsubscribed", other)
    assert (refused["code"], name in refused["reason"]) == (107, True)
