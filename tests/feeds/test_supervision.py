"""Supervised tasks go on after they fail, and end together."""

from __future__ import annotations

import asyncio

from realtime.feeds.supervision import Supervisor


async def test_a_task_that_fails_or_returns_is_started_again() -> None:
    starts: list[int] = []
    enough = asyncio.Event()

    async def fragile() -> None:
        starts.append(len(starts))
        if len(starts) == 1:
            raise ValueError("first")
        if len(starts) == 3:
            enough.set()
            await asyncio.Event().wait()

    supervisor = Supervisor()
    supervisor.spawn("fragile", fragile)
    async with asyncio.timeout(30):
        await enough.wait()
    assert starts == [0, 1, 2]
    await supervisor.aclose()


async def test_closing_waits_for_every_task_to_clean_up() -> None:
    cleaned: list[str] = []
    running = asyncio.Event()

    async def careful() -> None:
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("yes")

    supervisor = Supervisor()
    supervisor.spawn("careful", careful)
    await running.wait()
    await supervisor.aclose()
    assert cleaned == ["yes"]
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("headwater")] == []


async def test_a_name_that_runs_is_not_started_twice() -> None:
    starts: list[int] = []

    async def forever() -> None:
        starts.append(1)
        await asyncio.Event().wait()

    supervisor = Supervisor()
    supervisor.spawn("one", forever)
    supervisor.spawn("one", forever)
    await asyncio.sleep(0)
    assert starts == [1]
    await supervisor.aclose()
