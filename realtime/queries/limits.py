"""What an evaluation may do: read one moment of the database, for a limited time. The database sees to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg.errors
from django.db import OperationalError, connection, transaction

from realtime.errors import QueryTooSlow

from .changes import Statement

# How many of SQLite's steps lie between two looks at the clock: some 0.1 ms.
STEPS = 10_000


@contextmanager
def reading(limit_s: float) -> Iterator[list[Statement]]:
    """One moment of the default database, read-only, for at most `limit_s` a statement.

    Yields the statements that were sent so far.

    Raises QueryTooSlow when a statement was cancelled for that, and before one that would begin later. In a
    transaction that is under way already, that one's view and rights hold.
    """
    deadline = time.monotonic() + limit_s
    sent: list[Statement] = []

    def in_time(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        if time.monotonic() > deadline:
            raise _too_slow(limit_s)
        sent.append((sql, params))
        return execute(sql, params, many, context)

    try:
        with _moment(limit_s, deadline), connection.execute_wrapper(in_time):
            yield sent
    except OperationalError as error:
        if _was_cancelled(error, deadline):
            raise _too_slow(limit_s) from error
        raise


@contextmanager
def _moment(limit_s: float, deadline: float) -> Iterator[None]:
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
                    f"SET LOCAL statement_timeout = {max(1, round(limit_s * 1000))}"
                )
            yield
    else:
        with _sqlite_moment(deadline):
            yield


@contextmanager
def _sqlite_moment(deadline: float) -> Iterator[None]:
    """Django's own transactions take SQLite's write lock at once (IMMEDIATE), so this one is not of them."""
    connection.ensure_connection()
    raw: Any = connection.connection
    raw.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
    try:
        raw.execute("PRAGMA query_only = 1")
        raw.execute("BEGIN")
        yield
    finally:
        raw.set_progress_handler(None, 0)
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raw.execute("PRAGMA query_only = 0")


def _was_cancelled(error: OperationalError, deadline: float) -> bool:
    if connection.vendor == "postgresql":
        return isinstance(error.__cause__, psycopg.errors.QueryCanceled)
    return str(error) == "interrupted" and time.monotonic() > deadline


def _too_slow(limit_s: float) -> QueryTooSlow:
    return QueryTooSlow(f"The query took longer than {limit_s:g} s and was cancelled.")
