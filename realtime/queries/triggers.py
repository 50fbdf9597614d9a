"""The triggers that tell of changes of rows: those there must be, those there are, and what to do about it.

Whatever program writes to a table fires them. On PostgreSQL they are django-pgtrigger's and send
notifications; on SQLite they write to a log.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pgtrigger
from django.db import DatabaseError, connection, transaction

from . import plpgsql, row_log
from .heard import Table, heard_names, heard_tables

logger = logging.getLogger(__name__)

PREFIX = "headwater_"
# Rather than have everybody who writes to a table wait behind us, who wait for a long transaction.
LOCK_TIMEOUT_S = 5
LOCK = int.from_bytes(hashlib.sha256(b"headwater triggers").digest()[:7])


# Functions count, whose triggers went with their table. A trigger that is disabled is none.
PRESENT = """
    SELECT proname, coalesce(tgrelid::regclass::text, ''),
        coalesce(CASE tgenabled WHEN 'O' THEN obj_description(pg_trigger.oid, 'pg_trigger') END, ''),
        pg_proc.oid::regprocedure::text
    FROM pg_proc LEFT JOIN pg_trigger ON tgfoid = pg_proc.oid
    WHERE proname LIKE %s AND prorettype = 'trigger'::regtype AND pg_function_is_visible(pg_proc.oid)
"""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger, as it is to be or as it is.

    name    of it and of its function, nobody else's
    table   whose changes it tells; empty: it tells none, and keeps the log short
    mark    another one for another text
    make    SQL statements
    drop    one
    """

    name: str
    table: str
    mark: str
    make: tuple[str, ...]
    drop: str


@dataclass(frozen=True, slots=True)
class Differences:
    """What would have to be done to the database.

    missing       triggers that are not there, or not as they are to be
    superfluous   triggers of ours that nothing needs
    deaf          tables that can have none, or do not exist
    gone          tables with missing triggers of which there is not even one of another text
    """

    missing: list[Trigger]
    superfluous: list[Trigger]
    deaf: frozenset[str]
    gone: frozenset[str]

    @property
    def untold(self) -> frozenset[str]:
        """The tables of whose changes no trigger tells, though they are read."""
        return self.deaf | {each.table for each in self.missing if each.table}

    def __bool__(self) -> bool:
        return bool(self.missing or self.superfluous)


def differences(also: Collection[str] = ()) -> Differences:
    """What the database lacks or has too much of, for the queries that are declared. Only reads.

    also   tables that are read besides
    """
    tables = heard_tables(also)
    able = _able([table.name for table in tables])
    wanted = {each.name: each for each in _wanted([table for table in tables if table.name in able])}
    present = {each.name: each for each in _present()}
    return Differences(
        [each for name, each in wanted.items() if name not in present or present[name].mark != each.mark],
        [each for name, each in present.items() if name not in wanted],
        frozenset(table.name for table in tables if table.name not in able),
        frozenset(each.table for name, each in wanted.items() if name not in present),
    )


def ensure(also: Collection[str] = ()) -> frozenset[str]:
    """Make the triggers that are missing; the tables that have none nevertheless. For engines.

    Removes nothing, which might be needed by engines of another release. A user without the right to make
    triggers is told so in the log.
    """
    found = differences(also)
    return found.deaf | _carry_out([], found.missing)


def install() -> frozenset[str]:
    """Make what is missing and remove what is superfluous; the tables that have no triggers nevertheless.

    Engines that run make again what they alone know to be read.
    """
    found = differences()
    return found.deaf | _carry_out(found.superfluous, found.missing)


def remove() -> None:
    """Remove all triggers of ours, with what they need. Nothing is heard of any table then."""
    # The declared queries' first: without them, engines know that all are to go, and make none again.
    declared = heard_names()
    present = sorted(_present(), key=lambda each: each.table not in declared)
    for each in present:
        _change(each, [each.drop])
    if present:
        _tell_all()


def notified(tables: Collection[str]) -> frozenset[str]:
    """Those among these tables that have a trigger of ours. PostgreSQL alone; cheaper than `deaf`."""
    by_function = {_name("insert", table): table for table in tables}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT proname FROM pg_proc JOIN pg_trigger ON tgfoid = pg_proc.oid"
            " WHERE proname = ANY(%s) AND tgenabled = 'O' AND pg_function_is_visible(pg_proc.oid)",
            [list(by_function)],
        )
        return frozenset(by_function[name] for (name,) in cursor.fetchall())


def _carry_out(superfluous: Collection[Trigger], missing: Collection[Trigger]) -> frozenset[str]:
    """The tables whose triggers could not be made."""
    removed = [each for each in superfluous if _change(each, [each.drop])]
    failed = [each for each in missing if not _change(each, [each.drop, *each.make])]
    # Not when nothing could be changed: engines would try again, and tell again, for ever.
    if removed or len(failed) < len(missing):
        _tell_all()
    return frozenset(each.table for each in failed if each.table)


def _tell_all() -> None:
    """That something may have happened of which nothing told. On SQLite the schema's version says so."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [plpgsql.CHANNEL])


def _change(trigger: Trigger, statements: Iterable[str]) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(
                    f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'; SELECT pg_advisory_xact_lock({LOCK})"
                )
            for statement in statements:
                cursor.execute(statement)
    except DatabaseError as error:
        logger.warning("trigger_not_changed name=%s table=%s %s", trigger.name, trigger.table, error)
        return False
    return True


def _able(names: list[str]) -> frozenset[str]:
    """The tables among these that exist and can have triggers."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT name FROM unnest(%s::text[], %s::text[]) AS asked (name, quoted)"
                " JOIN pg_class ON pg_class.oid = to_regclass(quoted) WHERE relkind IN ('r', 'p')",
                [names, [connection.ops.quote_name(name) for name in names]],
            )
        else:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return frozenset(name for (name,) in cursor.fetchall()).intersection(names)


def _present() -> list[Trigger]:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(PRESENT, [PREFIX.replace("_", r"\_") + "%"])
            return [
                Trigger(name, table, mark, (), f"DROP FUNCTION IF EXISTS {function} CASCADE")
                for name, table, mark, function in cursor.fetchall()
            ]
        cursor.execute(
            "SELECT name, tbl_name, sql FROM sqlite_master"
            " WHERE type = 'trigger' AND substr(name, 1, %s) = %s",
            [len(PREFIX), PREFIX],
        )
        return [Trigger(name, table, sql, (), _drop(name)) for name, table, sql in cursor.fetchall()]


def _wanted(tables: Collection[Table]) -> Iterator[Trigger]:
    if connection.vendor == "postgresql":
        for table in tables:
            yield from _notifying(table)
    elif tables:
        yield Trigger(
            row_log.TRIM,
            "",
            row_log.MAKE_TRIM,
            (row_log.MAKE_LOG, row_log.MAKE_TRIM),
            _drop(row_log.TRIM),
        )
        for table in tables:
            for kind, body in row_log.bodies(table):
                name = _name(kind, table.name)
                sql = f"CREATE TRIGGER {name} {body}"
                yield Trigger(name, table.name, sql, (sql,), _drop(name))


def _drop(name: str) -> str:
    return f"DROP TRIGGER IF EXISTS {name}"


def _name(kind: str, table: str) -> str:
    """Not as django-pgtrigger makes names, whose users would have ours removed as left-overs of theirs."""
    return f"{PREFIX}{kind}_{hashlib.sha256(table.encode()).hexdigest()[:12]}"


def _notifying(table: Table) -> Iterator[Trigger]:
    referencing: Any = pgtrigger.Referencing
    old, new = referencing(old=plpgsql.OLD), referencing(new=plpgsql.NEW)
    yield _compiled(table, pgtrigger.Insert, plpgsql.of_insert(table), referencing=new)
    yield _compiled(table, pgtrigger.Delete, plpgsql.of_delete(table), referencing=old)
    yield _compiled(table, pgtrigger.Truncate, plpgsql.of_truncate(table))
    if table.quiet:
        # By row: a trigger with transition tables would cost something even for what it does not tell.
        condition = pgtrigger.Condition(plpgsql.condition(table))
        yield _compiled(
            table, pgtrigger.Update, plpgsql.of_row_update(table), level=pgtrigger.Row, condition=condition
        )
    else:
        both = referencing(old=plpgsql.OLD, new=plpgsql.NEW)
        yield _compiled(table, pgtrigger.Update, plpgsql.of_update(table), referencing=both)


class _Telling(pgtrigger.Trigger):
    when = pgtrigger.After
    level = pgtrigger.Statement
    declare = plpgsql.VARIABLES

    def get_pgid(self, model: Any) -> str:
        return _name(str(self.name), model._meta.db_table)


def _compiled(table: Table, operation: Any, function: str, **others: Any) -> Trigger:
    trigger = _Telling(name=str(operation).lower(), operation=operation, func=function, **others)
    model: Any = table.model
    compiled = trigger.compile(model)
    name = trigger.get_pgid(model)
    drop = f"DROP FUNCTION IF EXISTS {name}() CASCADE"
    return Trigger(name, table.name, compiled.hash, (compiled.install_sql,), drop)
