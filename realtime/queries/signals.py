"""What Django says of saved and deleted rows, told to the engines once it is committed.

Triggers tell of more. This is for databases that let us make none, and so that an engine in this very process
looks into SQLite's log at once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save

from realtime.feeds.demand import ENGINES
from realtime.feeds.runtime import running_feeds, signal_now

from . import triggers
from .changes import Change, Text, text_of
from .heard import heard_names

CHANGED_SIGNAL = "query.changed"
MOST_ROWS = 50
# Among so many hooks ours is looked for, to be used again: others' may lie between.
NEAR = 5
# For so long it is not asked again which tables have triggers.
KNOWN_S = 60.0


def connect() -> None:
    """Hear of every model. Called once, when all apps are loaded."""
    post_save.connect(_row_changed, dispatch_uid="headwater live queries")
    post_delete.connect(_row_changed, dispatch_uid="headwater live queries")
    m2m_changed.connect(_rows_joined, dispatch_uid="headwater live queries")


def change_of(signal: dict[str, Any]) -> Change:
    """What a signal tells. Raises KeyError or TypeError for one that tells nothing."""
    rows = signal["rows"]
    return Change(str(signal["table"]), None, None if rows is None else tuple(dict(row) for row in rows))


class _Tables:
    """What is to be told of rows, by table; None: only that there were changes."""

    def __init__(self) -> None:
        self._rows: dict[str, list[dict[str, Text]] | None] = {}

    def add(self, table: str, added: Sequence[dict[str, Text]] | None) -> None:
        rows = self._rows.setdefault(table, [])
        if rows is None or added is None or len(rows) + len(added) > MOST_ROWS:
            self._rows[table] = None
        else:
            rows.extend(added)

    def move(self, to: _Tables) -> None:
        for table, rows in self._rows.items():
            to.add(table, rows)
        self._rows.clear()

    def without(self, tables: Collection[str]) -> None:
        for table in self._rows.keys() & tables:
            del self._rows[table]

    def __bool__(self) -> bool:
        return bool(self._rows)

    def signal(self) -> None:
        for table, rows in self._rows.items():
            signal_now(ENGINES, {"kind": CHANGED_SIGNAL, "table": table, "rows": rows})
        self._rows.clear()


class _Outbox:
    """What is committed and not yet told. A loop of this process tells it, all that is there at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = _Tables()
        self._told_by: asyncio.AbstractEventLoop | None = None

    def put(self, tables: _Tables) -> None:
        running = running_feeds()
        with self._lock:
            tables.move(self._waiting)
            if running is not None and self._told_by is running.loop:
                return
            self._told_by = None if running is None else running.loop
        if running is None:
            self._tell()
        else:
            running.loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        leaving = _Tables()
        with self._lock:
            self._waiting.move(leaving)
            self._told_by = None
        leaving.signal()


_outbox = _Outbox()


class _OnCommit:
    """A transaction's, or a savepoint's, changes."""

    def __init__(self) -> None:
        self.tables = _Tables()

    def __call__(self) -> None:
        if connections[DEFAULT_DB_ALIAS].vendor == "postgresql":
            self.tables.without(_notified.among(heard_names()))
        if self.tables:
            _outbox.put(self.tables)


class _Notified:
    """Which tables have triggers on PostgreSQL, whose notifications tell engines more than signals could."""

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._until = 0.0

    def among(self, tables: Collection[str]) -> frozenset[str]:
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + KNOWN_S
            try:
                self._known = triggers.notified(tables)
            except DatabaseError:
                self._known = frozenset()
        return self._known


_notified = _Notified()


def _row_changed(sender: type[Model], instance: Model, using: str, **_: Any) -> None:
    _tell(using, ((model, _key(model, instance)) for model in (sender, *sender._meta.all_parents)))


def _rows_joined(sender: type[Model], action: str, using: str, **_: Any) -> None:
    if action.startswith("post_"):
        _tell(using, [(sender, None)])


def _key(model: type[Model], instance: Model) -> dict[str, Text] | None:
    try:
        return {
            str(field.column): text_of(getattr(instance, field.attname)) for field in model._meta.pk_fields
        }
    except TypeError:
        return None


def _tell(using: str, changed: Iterable[tuple[type[Model], dict[str, Text] | None]]) -> None:
    if using != DEFAULT_DB_ALIAS:
        return
    heard = heard_names()
    rows = [(model._meta.db_table, row) for model, row in changed if model._meta.db_table in heard]
    if not rows:
        return
    waiting = _waiting(using)
    hook = waiting or _OnCommit()
    for table, row in rows:
        hook.tables.add(table, None if row is None else [row])
    if waiting is None:
        transaction.on_commit(hook, using=using)


def _waiting(using: str) -> _OnCommit | None:
    """What this very transaction or savepoint tells already, so that it is rolled back with the rest."""
    connection = connections[using]
    within = set(connection.savepoint_ids)
    for savepoints, hook, *_ in reversed(connection.run_on_commit[-NEAR:]):
        if isinstance(hook, _OnCommit) and savepoints == within:
            return hook
    return None
