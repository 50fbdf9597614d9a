"""Tells an engine of changed rows, as the database it runs on lets them be heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

from django.db import connection

from realtime.errors import Unavailable
from realtime.feeds.demand import ENGINES
from realtime.feeds.runtime import Feeds

from . import triggers
from .changes import EVERYTHING, Change
from .data_version import watch
from .heard import heard_names
from .listening import listen
from .signals import CHANGED_SIGNAL, change_of

RETRY_S = 0.5
# Where a table has no trigger, any commit counts on SQLite, those of the engine itself too.
DEAF_EVERY_S = 1.0


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
        self._also: frozenset[str] = frozenset()
        self._more = asyncio.Event()
        self._deaf: frozenset[str] = frozenset()
        self._deaf_at = 0.0
        self._later: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Hear for ever. Waits for a database that is away."""
        self._feeds.broker.hear(CHANGED_SIGNAL, self._take_signal)
        await self._feeds.broker.join_group(ENGINES)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_triggers(), name="headwater triggers")
                if self._is_postgres:
                    await listen(self._take_one, self._begin)
                else:
                    await watch(self._take, self._begin, self._poked)
        finally:
            if self._later is not None:
                self._later.cancel()

    def read(self, tables: Collection[str]) -> None:
        """An evaluation has read these tables: hear of them from now on, whatever the declarations show."""
        unknown = frozenset(tables) - self._also - heard_names()
        if unknown:
            self._also |= unknown
            self._more.set()

    async def _keep_triggers(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            try:
                await self._begin()
            except Unavailable:
                self._more.set()
                await asyncio.sleep(RETRY_S)

    async def _begin(self) -> None:
        """At the start; and the database may be another one than before, as of a backup."""
        self._deaf = await self._feeds.database.write(triggers.ensure, self._also)

    async def _take_one(self, change: Change) -> None:
        await self._take([change])

    async def _take(self, changes: list[Change]) -> None:
        if EVERYTHING in changes:
            found = await self._feeds.database.read(triggers.differences, self._also)
            self._deaf = found.untold
            # Others remove what no declaration shows. Where declared tables have lost theirs too, all are
            # to go, as while `migrate` runs: there we would be in the way.
            if found.gone and found.gone <= self._also:
                self._more.set()
        if changes:
            self._tell(changes)
        elif self._deaf and self._later is None:
            loop = self._feeds.loop
            self._later = loop.call_at(max(loop.time(), self._deaf_at + DEAF_EVERY_S), self._tell_deaf)

    def _tell_deaf(self) -> None:
        self._later, self._deaf_at = None, self._feeds.loop.time()
        self._tell([EVERYTHING])

    def _take_signal(self, signal: dict[str, Any]) -> None:
        """What Django says of rows: the triggers tell the same, where there are some."""
        if not self._is_postgres:
            self._poked.set()
            return
        change = change_of(signal)
        if change.table in self._deaf:
            self._tell([change])
