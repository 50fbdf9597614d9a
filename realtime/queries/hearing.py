"""Tells an engine of changed rows, as the database it runs on lets them be heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from django.db import connection

from realtime.feeds.demand import ENGINES
from realtime.feeds.runtime import Feeds

from . import triggers
from .changes import EVERYTHING, Change
from .data_version import watch
from .listening import listen
from .signals import CHANGED_SIGNAL, change_of


class Hearing:
    """Calls `tell` on the loop with changes of rows, whoever made them and once they are committed.

    What cannot be told exactly is told as more than it was. Each time that hearing begins, or begins again
    after the database was away, that is EVERYTHING.
    """

    def __init__(self, feeds: Feeds, tell: Callable[[Sequence[Change]], None]) -> None:
        self._feeds = feeds
        self._tell = tell
        self._is_postgres = connection.vendor == "postgresql"
        self._poked = asyncio.Event()
        self._deaf: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Hear for ever. Waits for a database that is away."""
        self._feeds.broker.hear(CHANGED_SIGNAL, self._take_signal)
        await self._feeds.broker.join_group(ENGINES)
        if self._is_postgres:
            await listen(self._take_one, self._begin)
        else:
            await watch(self._take, self._begin, self._poked)

    async def _begin(self) -> None:
        """The database may be another one than before, as of a backup."""
        await self._feeds.database.write(triggers.ensure)

    async def _take_one(self, change: Change) -> None:
        await self._take([change])

    async def _take(self, changes: list[Change]) -> None:
        if EVERYTHING in changes:
            self._deaf = await self._feeds.database.read(triggers.deaf)
        if not changes and self._deaf:
            changes = [EVERYTHING]
        if changes:
            self._tell(changes)

    def _take_signal(self, signal: dict[str, Any]) -> None:
        """What Django says of rows: the triggers tell the same, where there are some."""
        if not self._is_postgres:
            self._poked.set()
            return
        change = change_of(signal)
        if change.table in self._deaf:
            self._tell([change])
