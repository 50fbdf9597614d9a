"""Tasks that must not end: each is restarted when it fails, and all of them end together."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


class Supervisor:
    """Keeps named coroutines running on one loop until it is closed.

    One that raises, or returns although it should not, is logged and started again after a pause that
    doubles from 0.1 s to 5 s and starts over once it has run for longer than the longest pause.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def spawn(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run()` under `name` for as long as the supervisor lives. A name that runs already is kept."""
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(self._keep(name, run), name=f"headwater {name}")

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_S
        while True:
            started = loop.time()
            try:
                await run()
                logger.error("task_returned %s", name)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                logger.exception("task_failed %s", name)  # it waited for something that was cancelled
            except Exception:
                logger.exception("task_failed %s", name)
            if loop.time() - started > LONGEST_PAUSE_S:
                pause = FIRST_PAUSE_S
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def aclose(self) -> None:
        """Cancel every task and wait until the last one has cleaned up."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
