"""Orders that come while a client is doing the same thing itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from realtime.delivery.centrifuge import orders
from realtime.delivery.centrifuge.door import Door
from realtime.delivery.centrifuge.keys import secret_key
from realtime.delivery.centrifuge.orders import Order
from realtime.delivery.centrifuge.tokens import Tokens
from realtime.feeds.channels import parse_name
from tests.conftest import SetNamespaces
from tests.delivery.conftest import House

from .signing import SECRET, signed
from .talking import OPEN, Client, client, connected

ROOM = replace(OPEN, presence=True)


class Held:
    """An async method whose first call waits, when it has done its work, until it may `go_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        real = getattr(owner, name)

        async def held(*args: Any) -> Any:
            done = await real(*args)
            if not self.begun.is_set():
                self.begun.set()
                await self.go_on.wait()
            return done

        monkeypatch.setattr(owner, name, held)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - the code's own state
            await asyncio.sleep(0.01)


async def one_publication_is_told_once(one: Client) -> None:
    """And the reply to the next command follows it."""
    await one.publish("chat:1", "new")
    assert "presence" in await one.ask("presence", channel="chat:1")


def hold(house: House, monkeypatch: pytest.MonkeyPatch, where: str) -> Held:
    """Subscriptions wait where they have joined the stream (`watch`), or where others see them (`add`)."""
    owner = house.delivery if where == "watch" else Door.of(house.feeds).presence
    return Held(monkeypatch, owner, where)


async def nobody_is_inside(house: House) -> None:
    door = Door.of(house.feeds)
    (session,) = door.sessions.values()
    assert session.subscriptions == {}
    await until(lambda: house.delivery.watched() == [])
    assert door.attendance.channels() == {}
    channel = await door.find(parse_name("chat:1"))
    assert channel is not None
    assert await door.presence.clients(channel.feed.id) == {}


@pytest.mark.parametrize("recovering", [{}, {"recover": True}])
@pytest.mark.parametrize("where", ["watch", "add"])
async def test_a_subscription_that_an_order_ends_while_it_begins_stays_ended(
    house: House,
    set_namespaces: SetNamespaces,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    recovering: dict[str, Any],
) -> None:
    set_namespaces(chat=ROOM)
    one = await connected(house)
    held = hold(house, monkeypatch, where)
    await one.tell({"id": 7, "subscribe": {"channel": "chat:1", **recovering}})
    await held.begun.wait()
    Door.of(house.feeds).control.give(orders.unsubscribe("", "chat:1"))
    assert (await one.read())["push"]["unsubscribe"]["code"] == 2000
    held.go_on.set()
    reply = await one.read()
    assert reply["id"] == 7
    assert (reply["error"]["code"], reply["error"]["temporary"]) == (100, True)
    await nobody_is_inside(house)
    assert "subscribe" in await one.ask("subscribe", channel="chat:1")
    await one_publication_is_told_once(one)


@pytest.mark.parametrize("where", ["watch", "add"])
async def test_a_subscription_by_order_that_the_client_ends_while_it_begins_stays_ended(
    house: House, set_namespaces: SetNamespaces, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    set_namespaces(chat=ROOM)
    one = await connected(house)
    held = hold(house, monkeypatch, where)
    control = Door.of(house.feeds).control
    control.give(orders.subscribe("", "chat:1"))
    await held.begun.wait()
    assert "unsubscribe" in await one.ask("unsubscribe", channel="chat:1")
    held.go_on.set()
    control.give(orders.subscribe("", "chat:2"))
    assert (await one.read())["push"]["channel"] == "chat:2", "the order before it was obeyed"
    await one.ask("unsubscribe", channel="chat:2")
    await nobody_is_inside(house)
    assert "subscribe" in await one.ask("subscribe", channel="chat:1")
    await one_publication_is_told_once(one)


@pytest.mark.parametrize(
    ("order", "pushed"),
    [
        (orders.subscribe("mia", "chat:b"), []),
        (orders.subscribe("mia", "chat:c"), [("chat:c", "subscribe")]),
        (orders.unsubscribe("mia", "chat:a"), [("chat:a", "unsubscribe")]),
    ],
)
async def test_orders_for_a_client_that_is_being_let_in_follow_its_connect_reply(
    house: House,
    set_namespaces: SetNamespaces,
    monkeypatch: pytest.MonkeyPatch,
    order: Order,
    pushed: list[tuple[str, str]],
) -> None:
    set_namespaces(chat=ROOM)
    door = Door.of(house.feeds)
    door.tokens = Tokens((secret_key(SECRET),))
    first, one = await client(house), await client(house)
    reply = await first.ask("connect", token=signed("HS256", {"sub": "mia"}))
    held = hold(house, monkeypatch, "watch")
    claims = {"sub": "mia", "channels": ["chat:a", "chat:b"]}
    await one.tell({"id": 7, "connect": {"token": signed("HS256", claims)}})
    await held.begun.wait()
    door.control.give(order)
    door.control.give(orders.subscribe("mia", "chat:last", client=reply["connect"]["client"]))
    while (await first.read())["push"]["channel"] != "chat:last":
        pass  # then the order was obeyed wherever it could be
    held.go_on.set()
    connect = await one.read()
    assert connect["id"] == 7
    assert set(connect["connect"]["subs"]) == {"chat:a", "chat:b"}
    for channel, kind in pushed:
        push = (await one.read())["push"]
        assert push["channel"] == channel
        assert kind in push
    assert "presence" in await one.ask("presence", channel="chat:b")


@pytest.mark.parametrize(
    ("order", "ends"),
    [
        (orders.disconnect("mia"), True),
        (orders.disconnect("eve"), False),
        (orders.disconnect("mia", client="another"), False),
    ],
)
async def test_a_user_who_is_disconnected_while_a_client_is_identified_is_not_let_in(
    house: House, monkeypatch: pytest.MonkeyPatch, order: Order, ends: bool
) -> None:
    door = Door.of(house.feeds)
    door.tokens = Tokens((secret_key(SECRET),))
    token = signed("HS256", {"sub": "mia"})
    one, next_one = await client(house), await client(house)
    held = Held(monkeypatch, door.tokens, "connection")
    await one.tell({"id": 1, "connect": {"token": token}})
    await held.begun.wait()
    heard = asyncio.Event()

    def hear(signal: dict[str, Any]) -> None:
        door.control._hear(signal)
        heard.set()

    house.feeds.broker.hear(orders.KIND, hear)
    house.feeds.broker.signal(orders.GROUP, order | {"from": "another process"})
    async with asyncio.timeout(30):
        await heard.wait()
    held.go_on.set()
    if ends:
        assert (await one.closed())[1] == 3503
    else:
        assert "connect" in await one.read()
    assert "connect" in await next_one.ask("connect", token=token), "who comes later is not meant"
