"""Joins and leaves: who is told, with what, and that a large channel keeps nobody waiting."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from realtime.delivery.centrifuge.attendance import PORTION, Attendance
from realtime.delivery.centrifuge.json_codec import CODEC
from realtime.delivery.centrifuge.presence import MemoryPresence
from realtime.delivery.centrifuge.wire import Wire
from realtime.feeds.broker import Broker
from realtime.feeds.supervision import Supervisor

encoded: list[str] = []


def frame(payload: str) -> str:
    encoded.append(payload)
    return payload


WIRE, BARE = Wire(CODEC, frame), Wire(CODEC, frame, bare=True)


@dataclass(eq=False)
class Out:
    payloads: list[str] = field(default_factory=list)

    def put(self, payload: str) -> None:
        self.payloads.append(payload)


class Client:
    """What attendance needs of a session, and what it was sent."""

    def __init__(self, name: str, wire: Wire = WIRE) -> None:
        self.id, self.wire, self.out = name, wire, Out()

    def client_info(self, subscription: object) -> dict[str, Any]:
        return {"user": f"user of {self.id}", "client": self.id}

    @property
    def told(self) -> list[tuple[str, str]]:
        pushes = [json.loads(payload) for payload in self.out.payloads]
        pushes = [push.get("push", push) for push in pushes]
        assert {push["channel"] for push in pushes} <= {"chat:1"}
        return [
            (kind, push[kind]["info"]["client"])
            for push in pushes
            for kind in ("join", "leave")
            if kind in push
        ]


def subscription(*, told: bool = True, join_leave: str = "forced", feed_id: int = 1) -> Any:
    rules = SimpleNamespace(presence=True, join_leave=join_leave)
    channel = SimpleNamespace(name=SimpleNamespace(text="chat:1"), feed=SimpleNamespace(id=feed_id))

    class Subscription:
        pass

    made: Any = Subscription()
    made.channel, made.rules, made.join_leave = channel, rules, told
    return made


class Company:
    """One process in which clients come and go."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.presence = MemoryPresence()
        self.attendance = Attendance(broker, self.presence)

    async def come(self, client: Any, its: Any) -> Any:
        await self.broker.join(its.channel.feed.id)
        await self.attendance.arrive(client, its)
        self.attendance.begin(client, its)
        return its


@pytest.fixture
async def company() -> AsyncIterator[Company]:
    supervisor = Supervisor()
    broker = Broker(InMemoryChannelLayer(capacity=100_000), supervisor)
    encoded.clear()
    yield Company(broker)
    await supervisor.aclose()


async def until(client: Client, *told: tuple[str, str]) -> None:
    async with asyncio.timeout(30):
        while client.told != list(told):  # noqa: ASYNC110 - the code's own state
            await asyncio.sleep(0.01)


async def test_who_joins_is_told_so_itself_and_others_hear_of_it_coming_and_going(company: Company) -> None:
    a, b, deaf, elsewhere = Client("a"), Client("b"), Client("deaf"), Client("elsewhere")
    await company.come(a, subscription())
    await until(a, ("join", "a"))
    await company.come(deaf, subscription(told=False))
    await company.come(elsewhere, subscription(feed_id=2))
    await until(a, ("join", "a"), ("join", "deaf"))
    b_subscription = await company.come(b, subscription())
    await until(b, ("join", "b"))
    assert await company.presence.clients(1) == {
        name: json.dumps({"user": f"user of {name}", "client": name}, separators=(",", ":"))
        for name in ("a", "b", "deaf")
    }
    company.attendance.end(b, b_subscription)
    company.attendance.end(b, b_subscription)
    await until(a, ("join", "a"), ("join", "deaf"), ("join", "b"), ("leave", "b"))
    assert b.told == [("join", "b")]
    assert deaf.told == []
    assert elsewhere.told == [("join", "elsewhere")]
    assert set(await company.presence.clients(1)) == {"a", "deaf"}


async def test_a_channel_without_these_rules_tells_nobody(company: Company) -> None:
    a, b = Client("a"), Client("b")
    quiet = await company.come(a, subscription(join_leave="off"))
    company.attendance.end(a, quiet)
    await company.come(b, subscription())
    await until(b, ("join", "b"))
    assert a.told == []


async def test_who_never_got_a_reply_did_not_join_and_does_not_leave(company: Company) -> None:
    a, b = Client("a"), Client("b")
    await company.come(a, subscription())
    failed = subscription()
    client: Any = b
    await company.attendance.arrive(client, failed)
    company.attendance.end(client, failed)
    c = Client("c")
    await company.come(c, subscription())
    await until(a, ("join", "a"), ("join", "c"))
    assert set(await company.presence.clients(1)) == {"a", "c"}


async def test_a_push_is_encoded_once_for_a_wire_and_told_in_portions(company: Company) -> None:
    clients: list[Any] = [Client(str(n), BARE if n % 2 else WIRE) for n in range(2 * PORTION + 10)]
    company.attendance._inside[1] = {subscription(): client for client in clients}
    newest = Client("newest")
    await company.come(newest, subscription())
    async with asyncio.timeout(30):
        while not clients[0].told:  # noqa: ASYNC110 - the code's own state
            await asyncio.sleep(0)
    assert clients[-1].told == []
    await until(newest, ("join", "newest"))
    assert all(each.told == [("join", "newest")] for each in clients)
    assert len(encoded) == 2
    assert clients[0].out.payloads[0] is clients[-2].out.payloads[0]
