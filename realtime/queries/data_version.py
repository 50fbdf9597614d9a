"""Hears SQLite's changed rows: `PRAGMA data_version` shows each commit, and the log what it changed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from django.db import DEFAULT_DB_ALIAS, connections

from realtime.errors import Unavailable

from .changes import EVERYTHING, Change, Text
from .listening import known
from .row_log import LOG

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.05
RETRY_S = 0.5
# Of more than these at a time, only the tables are told.
MOST_ROWS = 1_000
BUSY_S = 5.0

# A table's name, the columns, and the row before and after, these three as JSON.
Logged = tuple[str, str | None, str | None, str | None]


class RowLog:
    """The database's log, from where it was read last. For one thread."""

    def __init__(self) -> None:
        self._database: sqlite3.Connection | None = None
        self._version: int | None = None
        self._schema: int | None = None
        self._seen = 0

    def close(self) -> None:
        if self._database is not None:
            self._database.close()

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            path = Path(connections[DEFAULT_DB_ALIAS].settings_dict["NAME"]).absolute()
            self._database = sqlite3.connect(
                f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None
            )
            self._database.text_factory = lambda text: text.decode(errors="replace")
        return self._database

    def look(self) -> list[Change] | None:
        """What was committed since the last look: None, nothing; [], what no trigger tells of.

        EVERYTHING alone at the first look, when triggers may have been made or removed, and when more was
        written than the log keeps.
        """
        version = self._pragma("data_version")
        if version == self._version:
            return None
        # Known before what it stands for is read: what is committed in between is looked for again.
        self._version = version
        self._connection.execute("BEGIN")
        try:
            return self._read()
        finally:
            self._connection.execute("COMMIT")

    def _read(self) -> list[Change]:
        schema, seen = self._pragma("schema_version"), self._seen
        self._seen = self._newest()
        if schema != self._schema:
            self._schema = schema
            return [EVERYTHING]
        return _merged(self._rows(seen, self._seen - seen))

    def _rows(self, seen: int, many: int) -> list[Logged]:
        if many == 0:
            return []
        rows = f"FROM {LOG} WHERE id > {seen}"  # a constant and a number
        ((there,),) = self._connection.execute(f"SELECT count(*) {rows}")
        if there != many:
            return [("", None, None, None)]
        if many > MOST_ROWS:
            return [
                (name, None, None, None)
                for (name,) in self._connection.execute(f"SELECT DISTINCT name {rows}")
            ]
        return list(self._connection.execute(f"SELECT name, columns, old, new {rows} ORDER BY id"))

    def _newest(self) -> int:
        """The number of the newest row that ever was; 0: there was none, or no log."""
        if not self._connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"
        ).fetchone():
            return 0
        found = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", [LOG]).fetchone()
        return int(found[0]) if found else 0

    def _pragma(self, name: str) -> int:
        ((value,),) = self._connection.execute(f"PRAGMA {name}")
        return int(value)


def _merged(rows: Sequence[Logged]) -> list[Change]:
    """One change for all rows of a table in which the same columns changed."""
    merged: dict[tuple[str, str | None], list[dict[str, Text]] | None] = {}
    for name, columns, *texts in rows:
        all_told, told = merged.setdefault((name, columns), []), _told(texts)
        if told is None:
            merged[name, columns] = None
        elif all_told is not None:
            all_told += told
    return [
        Change(
            name,
            None if columns is None else frozenset(json.loads(columns)),
            None if all_told is None else tuple(all_told),
        )
        for (name, columns), all_told in merged.items()
    ]


def _told(texts: Sequence[str | None]) -> list[dict[str, Text]] | None:
    """None: nothing is known of the row, as where SQLite has written infinity, which is no JSON."""
    try:
        return [known(json.loads(text)) for text in texts if text is not None] or None
    except ValueError:
        return None


async def watch(
    tell: Callable[[list[Change]], Awaitable[None]],
    begin: Callable[[], Awaitable[None]],
    poked: asyncio.Event,
) -> None:
    """Await `tell` with what was committed, [] if it cannot be told, for ever.

    begin   awaited first whenever the database is opened
    poked   somebody knows of a commit: look at once
    """
    loop = asyncio.get_running_loop()
    away = False
    while True:
        # A thread of its own: others may have to wait, and SQLite's connections are best used by one.
        thread = ThreadPoolExecutor(1, "headwater-row-log")
        log = RowLog()
        try:
            await begin()
            while True:
                changes = await loop.run_in_executor(thread, log.look)
                if away:
                    logger.warning("row_log_back")
                away = False
                if changes is not None:
                    await tell(changes)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await poked.wait()
                poked.clear()
        except (sqlite3.Error, Unavailable) as error:
            if not away:
                logger.warning("row_log_away %s", error)
            away = True
            await asyncio.sleep(RETRY_S)
        finally:
            thread.submit(log.close)
            thread.shutdown(wait=False)
