"""Shared reads: many questions, few loads, and no answer that is older than its question."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from realtime.feeds.shared_reads import SharedReads


class Loader:
    """Loads when it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.loads: list[list[str]] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, keys: Sequence[str]) -> dict[str, int]:
        self.loads.append(list(keys))
        number = len(self.loads)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {key: number for key in keys if key != "unknown"}


async def test_questions_during_a_load_are_answered_by_the_next_one_together() -> None:
    loader = Loader()
    reads = SharedReads(loader, batch_limit=10)
    first = reads.ask("a")
    await asyncio.sleep(0.01)
    others = [reads.ask(key) for key in ("a", "a", "b", "unknown")]
    await asyncio.sleep(0)
    loader.gate.set()
    assert await first == 1
    assert await asyncio.gather(*others) == [2, 2, 2, None]
    assert loader.loads == [["a"], ["a", "b", "unknown"]]


async def test_a_failed_load_fails_those_who_asked_and_no_others() -> None:
    loader = Loader()
    reads = SharedReads(loader, batch_limit=10)
    loader.gate.set()
    loader.error = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        await reads.ask("a")
    loader.error = None
    assert await reads.ask("a") == 2


async def test_one_who_gives_up_takes_nothing_from_the_others() -> None:
    loader = Loader()
    reads = SharedReads(loader, batch_limit=10)
    impatient = reads.ask("a")
    patient = reads.ask("a")
    await asyncio.sleep(0)
    impatient.cancel()
    loader.gate.set()
    assert await patient == 1


async def test_closing_ends_what_waits() -> None:
    loader = Loader()
    reads = SharedReads(loader, batch_limit=10)
    waiting = reads.ask("a")
    await asyncio.sleep(0.01)
    await reads.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
