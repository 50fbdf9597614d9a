"""A turnstile: so many at once, in the order in which they came, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from realtime.delivery.turnstile import Turnstile
from realtime.errors import Unavailable


class Inside:
    """Who went in, in that order; each leaves when told to."""

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self._leave: dict[str, asyncio.Event] = {}
        self.came: list[str] = []

    async def visit(self, name: str) -> None:
        self._leave[name] = asyncio.Event()
        async with self._turnstile:
            self.came.append(name)
            await self._leave[name].wait()

    async def leave(self, *names: str) -> None:
        for name in names:
            self._leave[name].set()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def begin(self, group: asyncio.TaskGroup, names: Iterable[str]) -> list[asyncio.Task[None]]:
        tasks = [group.create_task(self.visit(name)) for name in names]
        await self.settle()
        return tasks


async def test_at_most_so_many_are_inside_and_the_others_follow_in_order() -> None:
    inside = Inside(Turnstile(2, patience_s=30))
    async with asyncio.TaskGroup() as group:
        await inside.begin(group, "abcde")
        assert inside.came == ["a", "b"]
        await inside.leave("b")
        assert inside.came == ["a", "b", "c"]
        await inside.leave("a", "c")
        assert inside.came == ["a", "b", "c", "d", "e"]
        await inside.leave("d", "e")


async def test_whoever_goes_while_waiting_takes_nobody_s_place() -> None:
    inside = Inside(Turnstile(1, patience_s=30))
    async with asyncio.TaskGroup() as group:
        _, waiting, called, _ = await inside.begin(group, "abcd")
        waiting.cancel()
        await inside.settle()
        inside._leave["a"].set()
        await asyncio.sleep(0)
        called.cancel()  # in the very turn in which its place became free
        await inside.settle()
        assert inside.came == ["a", "d"]
        await inside.leave("d")


async def test_an_error_inside_frees_the_place() -> None:
    turnstile = Turnstile(1, patience_s=30)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with turnstile:
                raise ZeroDivisionError
    async with asyncio.timeout(30), turnstile:
        pass


async def test_waiting_has_an_end_and_costs_nobody_a_place() -> None:
    inside = Inside(Turnstile(1, patience_s=0.01))
    async with asyncio.TaskGroup() as group:
        await inside.begin(group, "a")
        for name in "bc":
            with pytest.raises(Unavailable):
                await inside.visit(name)
        await inside.leave("a")
        await inside.begin(group, "d")
        assert inside.came == ["a", "d"]
        await inside.leave("d")
