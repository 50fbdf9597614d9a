"""What a test hears of changed rows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from realtime.feeds.runtime import Feeds
from realtime.queries.changes import EVERYTHING, Change
from realtime.queries.hearing import Hearing

PATIENCE_S = 30.0


class Heard:
    """All changes that were told until now."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._news = asyncio.Event()

    def tell(self, changes: Sequence[Change]) -> None:
        self.changes += changes
        self._news.set()

    async def until(self, true: Callable[[], object]) -> None:
        """Return once this is true; what was heard instead is in the error."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not true():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"heard only {self.changes}") from None

    async def of(self, table: str) -> Change:
        """The next change of this table. What was heard until then is forgotten."""
        await self.until(lambda: any(change.table == table for change in self.changes))
        (found, *_) = [change for change in self.changes if change.table == table]
        self.changes.clear()
        return found


@contextlib.asynccontextmanager
async def hearing(feeds: Feeds) -> AsyncIterator[Heard]:
    """Hears from now on; that anything may have changed before is heard already, and forgotten."""
    heard = Heard()
    task = asyncio.create_task(Hearing(feeds, heard.tell).run())
    try:
        await heard.until(lambda: EVERYTHING in heard.changes)
        heard.changes.clear()
        yield heard
    finally:
        await ended(task)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
