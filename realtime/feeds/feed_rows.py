"""The statements of a commit: lock the feeds' rows, insert journal entries, save the rows. No decisions.

SQL of our own, since every publication waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from .models import Feed, JournalEntry
from .publication import Publication

COLUMNS = ("epoch", "offset", "digest", "state", "status_rev", "error", "last_ok_at", "next_poll_at")
SAVED = COLUMNS[1:]


@dataclass(slots=True)
class Row:
    """A feed's columns, as in `COLUMNS`, while a batch is applied to them under the row's lock."""

    epoch: str
    offset: int
    digest: str
    state: str
    rev: int
    error: str
    last_ok_at: datetime | None
    next_poll_at: datetime | None


def lock(feed_ids: Sequence[int]) -> dict[int, Row]:
    """These feeds' rows, as far as they are there, locked until the transaction ends. In the order of ids.

    As a queryset it takes twice as long.
    """
    quote = connection.ops.quote_name
    sql = f"SELECT {', '.join(map(quote, ('id', *COLUMNS)))} FROM {quote(Feed._meta.db_table)}"  # noqa: S608
    sql += f" WHERE id IN ({', '.join(['%s'] * len(feed_ids))}) ORDER BY id"
    if connection.features.has_select_for_update:
        sql += f" {connection.ops.for_update_sql()}"
    with connection.cursor() as cursor:
        cursor.execute(sql, feed_ids)
        found = cursor.fetchall()
    return {id_: Row(*columns[:-2], *map(_moment, columns[-2:])) for id_, *columns in found}


def _moment(value: Any) -> datetime | None:
    """What the database gave for one, as Django has it."""
    column: Any = Feed._meta.get_field("last_ok_at").cached_col
    for convert in connection.ops.get_db_converters(column):
        value = convert(value, column, connection)
    moment: datetime | None = value
    return moment


def insert_entries(publications: Sequence[Publication | None], now: datetime) -> None:
    """Write the entries, all of one time. With model instances and `bulk_create` it costs twice as much."""
    rows = [(p.feed_id, p.offset, p.data, p.info, p.tags) for p in publications if p is not None]
    if not rows:
        return
    quote = connection.ops.quote_name
    names = ("published_at", "feed_id", "offset", "data", "info", "tags")
    insert = f"INSERT INTO {quote(JournalEntry._meta.db_table)} ({', '.join(map(quote, names))})"
    at = JournalEntry._meta.get_field("published_at").get_db_prep_save(now, connection)
    if connection.vendor == "postgresql" and len(rows) > 1:
        arrays = "%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[]"
        columns = list(map(list, zip(*rows, strict=True)))
        _execute(f"{insert} SELECT %s, * FROM unnest({arrays})", [(at, *columns)])  # noqa: S608 - constants
    else:
        _execute(f"{insert} VALUES (%s, %s, %s, %s, %s, %s)", [(at, *row) for row in rows])


def save(rows: Mapping[int, Row]) -> None:
    """One prepared statement for all rows: Django's bulk_update costs ten times as much in SQL text."""
    quote = connection.ops.quote_name
    moments = Feed._meta.get_field("last_ok_at")
    assignments = ", ".join(f"{quote(column)} = %s" for column in SAVED)
    _execute(
        f"UPDATE {quote(Feed._meta.db_table)} SET {assignments} WHERE id = %s",  # noqa: S608 - constants
        [
            (
                *(row.offset, row.digest, row.state, row.rev, row.error),
                moments.get_db_prep_save(row.last_ok_at, connection),
                moments.get_db_prep_save(row.next_poll_at, connection),
                feed_id,
            )
            for feed_id, row in rows.items()
        ],
    )


def _execute(sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run it for each row. For a single one `executemany` would wait twice more for PostgreSQL's answers."""
    with connection.cursor() as cursor:
        if len(rows) == 1:
            cursor.execute(sql, rows[0])
        else:
            cursor.executemany(sql, rows)
