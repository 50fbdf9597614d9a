"""Whose changes of rows are told: the tables that live queries read, and what is told of each.

Of a row only short values are told, which queries compare by equality; of an update, the columns it changed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from django.apps import apps
from django.db.models import BooleanField, CharField, Field, ForeignKey, IntegerField, Model, UUIDField

from .probing import tables_of
from .registry import LiveQuery, queries

LONGEST_TOLD = 64  # characters
# Written all the time, by the hub itself, and read by no query of its own.
NEVER = frozenset({"realtime.Demand", "contenttypes.ContentType", "sessions.Session"})
# What the store writes with every publication: a change of these alone is not told.
QUIET = {
    "realtime.Feed": frozenset(
        {"offset", "digest", "epoch", "status_rev", "last_ok_at", "next_poll_at", "used_at"}
    )
}


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the database, as triggers need to know it.

    name      as the ORM has it
    model     whose table it is
    key       the columns of its primary key
    columns   those whose changes are told
    values    those whose values are told
    truths    those among them that hold true or false
    quiet     it has further columns, whose changes are not told
    """

    name: str
    model: type[Model]
    key: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[str, ...]
    truths: frozenset[str]
    quiet: bool


def heard_tables(also: Collection[str] = ()) -> list[Table]:
    """The tables that any declared query is known to read, and these, by name."""
    names = heard_names().union(also)
    return [table for name, table in sorted(_known_tables().items()) if name in names]


def heard_names() -> frozenset[str]:
    """The names of the tables that any declared query is known to read."""
    return _heard_names(tuple(queries()))


@lru_cache(8)
def _heard_names(declared: tuple[LiveQuery, ...]) -> frozenset[str]:
    return frozenset(name for query in declared for name in tables_of(query)) & _known_tables().keys()


@cache
def _known_tables() -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for model in apps.get_models(include_auto_created=True):
        meta = model._meta
        if not meta.proxy and meta.label not in NEVER:
            tables.setdefault(meta.db_table, _table(model))
    return tables


def _table(model: type[Model]) -> Table:
    meta = model._meta
    quiet = QUIET.get(meta.label, frozenset())
    fields = {field.column: field for field in meta.local_concrete_fields if field.column}
    told = {name: field for name, field in fields.items() if name not in quiet and _is_told(field)}
    return Table(
        name=meta.db_table,
        model=model,
        key=tuple(str(field.column) for field in meta.pk_fields),
        columns=tuple(name for name in fields if name not in quiet),
        values=tuple(told),
        truths=frozenset(name for name, field in told.items() if isinstance(_target(field), BooleanField)),
        quiet=bool(quiet),
    )


def _target(field: Field[Any, Any]) -> Field[Any, Any]:
    """The field whose values this one holds."""
    while isinstance(field, ForeignKey):
        field = field.target_field
    return field


def _is_told(field: Field[Any, Any]) -> bool:
    target = _target(field)
    if isinstance(target, CharField):
        names = target.unique or field is not target
        short = target.max_length is not None and target.max_length <= LONGEST_TOLD
        return target.db_collation is None and (names or short)
    return isinstance(target, (BooleanField, IntegerField, UUIDField))
