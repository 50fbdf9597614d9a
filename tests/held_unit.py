"""A unit of work that takes as long as a test wants it to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any


class HeldUnit:
    """In its thread, waits until it is let go; then it is the unit that it was made of."""

    def __init__(self, unit: Callable[..., Any] = lambda: None) -> None:
        self._unit = unit
        self._begun = threading.Event()
        self._may_run = threading.Event()

    def __call__(self, *args: Any) -> Any:
        self._begun.set()
        assert self._may_run.wait(60)
        return self._unit(*args)

    async def begun(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, 60)

    def let_go(self) -> None:
        self._may_run.set()
