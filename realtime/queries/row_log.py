"""SQLite's log of changed rows: the triggers that write to it, and what they write.

A table beside the others, of the newest 10,000 changes. It is part of each transaction: what is rolled back
is not in it, and a change is there as soon as it counts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator

from django.db import connection
from django.db.models import Model, UniqueConstraint

from .heard import Table

LOG = "realtime_rowchange"
KEPT = 10_000
TRIMMED_EVERY = 1_000
# A function of SQLite has at most 127 arguments, in some releases 100.
MOST_VALUES = 50

MAKE_LOG = (
    f"CREATE TABLE IF NOT EXISTS {LOG} (id integer PRIMARY KEY AUTOINCREMENT, name text NOT NULL,"
    " columns text, old text, new text)"
)
TRIM = "headwater_trim"
# Numbers are given in order and never twice, so that who reads sees what was trimmed before it was read.
MAKE_TRIM = (
    f"CREATE TRIGGER {TRIM} AFTER INSERT ON {LOG} WHEN NEW.id % {TRIMMED_EVERY} = 0"
    f" BEGIN DELETE FROM {LOG} WHERE id <= NEW.id - {KEPT}; END"
)


def bodies(table: Table) -> Iterator[tuple[str, str]]:
    """For each kind of change: its name, and what a trigger says behind its own."""
    quote = connection.ops.quote_name
    at = f"ON {quote(table.name)}"
    yield "insert", f"AFTER INSERT {at} BEGIN {_log(table, new=_row(table, 'NEW'))}; END"
    yield "delete", f"AFTER DELETE {at} BEGIN {_log(table, old=_row(table, 'OLD'))}; END"
    yield "replace", f"BEFORE INSERT {at} BEGIN {_replaced(table)}; END"
    changed = {name: f"OLD.{quote(name)} IS NOT NEW.{quote(name)} COLLATE BINARY" for name in table.columns}
    of = f" OF {', '.join(map(quote, table.columns))}" if table.quiet else ""
    names = " || ".join(
        f"CASE WHEN {condition} THEN {_text(',' + json.dumps(name))} ELSE '' END"
        for name, condition in changed.items()
    )
    told = _log(table, f"'[' || substr({names}, 2) || ']'", _row(table, "OLD"), _row(table, "NEW"))
    yield "update", f"AFTER UPDATE{of} {at} WHEN {' OR '.join(changed.values())} BEGIN {told}; END"


def _log(table: Table, columns: str = "NULL", old: str = "NULL", new: str = "NULL") -> str:
    return (
        f"INSERT INTO {LOG} (name, columns, old, new) VALUES ({_text(table.name)}, {columns}, {old}, {new})"
    )


def _replaced(table: Table) -> str:
    """INSERT OR REPLACE deletes rows, of which no other trigger tells."""
    quote = connection.ops.quote_name
    same = " OR ".join(
        "(" + " AND ".join(f"gone.{quote(name)} = NEW.{quote(name)}" for name in names) + ")"
        for names in [table.key, *_unique(table.model)]
    )
    return (
        f"INSERT INTO {LOG} (name, old) SELECT {_text(table.name)}, {_row(table, 'gone')}"
        f" FROM {quote(table.name)} AS gone WHERE {same}"
    )


def _unique(model: type[Model]) -> Iterator[tuple[str, ...]]:
    meta = model._meta
    columns = {field.name: str(field.column) for field in meta.local_concrete_fields}
    together: list[Collection[str]] = [
        *((field.name,) for field in meta.local_concrete_fields if field.unique and not field.primary_key),
        *meta.unique_together,
        *(each.fields for each in meta.constraints if isinstance(each, UniqueConstraint) and each.fields),
    ]
    for names in together:
        yield tuple(columns[name] for name in names)


def _row(table: Table, row: str) -> str:
    quote = connection.ops.quote_name
    values = []
    for name in table.values[:MOST_VALUES]:
        value = f"{row}.{quote(name)}"
        if name in table.truths:
            value = f"NOT NOT {value}"
        else:
            # JSON has no bytes. They equal no text, so any will do.
            value = f"CASE typeof({value}) WHEN 'blob' THEN 'blob' ELSE {value} END"
        values.append(f"{_text(name)}, {value}")
    return f"json_object({', '.join(values)})" if values else "NULL"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
