"""Supervised tasks go on after they fail, and end together."""

from __future__ import annotations

import asyncio

import pytest

from realtime.feeds import supervision
from realtime.feeds.supervision import Supervisor


async def test_a_task_that_fails_or_returns_or_waits_for_what_is_cancelled_is_started_again() -> None:
    starts: list[int] = []
    enough = asyncio.Event()

    async def fragile() -> None:
        starts.append(len(starts))
        if len(starts) == 1:
            raise ValueError("first")
        if len(starts) == 3:
            await cancelled()
        if len(starts) == 4:
            enough.set()
            await asyncio.Event().wait()

    async def cancelled() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    supervisor = Supervisor()
    supervisor.spawn("fragile", fragile)
    async with asyncio.timeout(30):
        await enough.wait()
    assert starts == [0, 1, 2, 3]
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


async def test_the_pause_grows_up_to_its_limit_and_starts_over_after_a_long_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, pauses, enough = 0.0, [], asyncio.Event()
    runs = iter([0.0] * 7 + [6.0, 0.0])
    sleep = asyncio.sleep

    async def fragile() -> None:
        nonlocal now
        length = next(runs, None)
        if length is None:
            enough.set()
            await asyncio.Event().wait()
        else:
            now += length
            raise ValueError

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    monkeypatch.setattr(supervision.asyncio, "sleep", pause)
    monkeypatch.setattr(supervision.random, "uniform", lambda low, high: 1.0)
    supervisor = Supervisor()
    supervisor.spawn("fragile", fragile)
    await enough.wait()
    await supervisor.aclose()
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 0.1, 0.2])
