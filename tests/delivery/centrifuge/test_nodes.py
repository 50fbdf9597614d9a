"""Processes know one another, and answer what they are asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from realtime.delivery.centrifuge import nodes as nodes_module
from realtime.delivery.centrifuge.nodes import PORTION, Nodes
from realtime.errors import Unavailable
from realtime.feeds.broker import Broker
from realtime.feeds.supervision import Supervisor


class Process:
    """One process's door, with what `Nodes` asks of it."""

    def __init__(self, layer: InMemoryChannelLayer, name: str, **channels: int) -> None:
        self.supervisor, self.closing = Supervisor(), AsyncExitStack()
        self.broker = Broker(layer, self.supervisor)
        self.channels = dict(channels)
        door: Any = SimpleNamespace(
            node=name,
            feeds=SimpleNamespace(broker=self.broker, supervisor=self.supervisor, closing=self.closing),
            attendance=SimpleNamespace(channels=lambda: self.channels),
            sessions={"a": 1, "b": 2},
            users=1,
        )
        self.nodes = Nodes(door)

    def known(self) -> set[str]:
        return {node["uid"] for node in self.nodes.known()}

    async def kill(self) -> None:
        await self.supervisor.aclose()


@contextlib.asynccontextmanager
async def processes(**each: dict[str, int]) -> AsyncIterator[list[Process]]:
    """Several that know one another."""
    layer = InMemoryChannelLayer(capacity=10_000)
    made = [Process(layer, name, **channels) for name, channels in each.items()]
    try:
        await until(lambda: all(process.known() == set(each) for process in made))
        yield made
    finally:
        for process in made:
            await process.kill()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the code's own state
            await asyncio.sleep(0.01)


async def test_each_tells_the_others_what_it_serves() -> None:
    async with processes(one={"news": 2, "chat:1": 1}, two={}) as (one, two):
        itself, other = two.nodes.known()
        assert (itself["uid"], other["uid"]) == ("two", "one")
        told = ("num_clients", "num_users", "num_subs", "num_channels")
        assert [other[name] for name in told] == [2, 1, 3, 2]
        assert one.nodes.known()[0]["name"]


async def test_one_that_comes_later_knows_everybody_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes_module, "TELL_EVERY_S", 3600)
    layer = InMemoryChannelLayer(capacity=10_000)
    one = Process(layer, "one")
    await until(lambda: "node.one" in layer.groups)
    later = Process(layer, "later")
    try:
        await until(lambda: one.known() == later.known() == {"one", "later"})
    finally:
        await one.kill()
        await later.kill()


async def test_channels_are_counted_on_all_processes_and_chosen_by_a_pattern() -> None:
    async with processes(one={"news": 2, "chat:1": 1}, two={"news": 3, "chat:2": 1}) as (one, _):
        assert await one.nodes.channels("") == {"news": 5, "chat:1": 1, "chat:2": 1}
        assert await one.nodes.channels("chat:*") == {"chat:1": 1, "chat:2": 1}
        assert await one.nodes.channels("chat:[13]") == {"chat:1": 1}
        assert await one.nodes.channels("CHAT:*") == {}


async def test_an_answer_of_many_channels_comes_in_portions() -> None:
    many = {f"c:{number}": number + 1 for number in range(2 * PORTION + 1)}
    async with processes(one={"c:0": 1}, two=many) as (one, _):
        assert await one.nodes.channels("") == many | {"c:0": 2}


async def test_one_that_left_is_not_asked_and_one_that_died_is_waited_for_until_it_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nodes_module, "ANSWER_WITHIN_S", 0.3)
    monkeypatch.setattr(nodes_module, "TELL_EVERY_S", 0.05)
    async with processes(one={"news": 1}, two={"news": 1}, three={"news": 1}) as (one, two, three):
        await three.closing.aclose()
        await until(lambda: one.known() == {"one", "two"})
        for _ in range(2):  # what the others go on to say, it says no more
            told = one.nodes._others["two"]
            await until(lambda: one.nodes._others["two"] is not told)  # noqa: B023 - within its own turn
        assert one.known() == {"one", "two"}
        await three.kill()
        await two.kill()
        with pytest.raises(Unavailable):
            await one.nodes.channels("")
        monkeypatch.setattr(nodes_module, "GONE_AFTER_S", 0.5)
        await until(lambda: one.known() == {"one"})
        assert await one.nodes.channels("") == {"news": 1}


async def test_one_that_leaves_while_it_is_asked_is_waited_for_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nodes_module, "ANSWER_WITHIN_S", 3600)
    async with processes(one={"news": 1}, two={"news": 1}, three={"news": 1}) as (one, _, three):
        heard = asyncio.Event()
        three.broker.hear("ask channels", lambda _: heard.set())  # and it answers nothing
        asking = asyncio.create_task(one.nodes.channels(""))
        async with asyncio.timeout(30):
            await heard.wait()
            await three.closing.aclose()
            assert await asking == {"news": 2}


async def test_nobody_is_asked_while_the_layer_is_away() -> None:
    async with processes(one={"news": 1}, two={}) as (one, _):
        one.broker.away.set()
        with pytest.raises(Unavailable):
            await one.nodes.channels("")
