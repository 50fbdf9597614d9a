"""What PostgreSQL's triggers do: the text of their functions.

Each sends one notification, `{"t": table, "c": [changed columns], "r": [rows]}`, without what is not known. A
function never fails the write that it hears of: what it cannot say, as of a column that is no longer there,
becomes a notification of the table alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from django.db import connection

from .heard import Table

CHANNEL = "headwater_changes"
MOST_ROWS = 50
# PostgreSQL's own limit is 8,000.
PAYLOAD_BYTES = 7_500
COLUMNS_BYTES = 4_000

OLD = "headwater_old"
NEW = "headwater_new"
ROW = "headwater_row"
VARIABLES = [
    ("_columns", "text"),
    ("_rows", "text"),
    ("_told", "text"),
    ("_many", "bigint"),
]


def of_insert(table: Table) -> str:
    return _safely(table, f"{_none(NEW)} {_rows(table, NEW)}")


def of_delete(table: Table) -> str:
    return _safely(table, f"{_none(OLD)} {_rows(table, OLD)}")


def of_truncate(table: Table) -> str:
    return f"PERFORM pg_notify({_text(CHANNEL)}, {_text(_alone(table))}); RETURN NULL;"


def of_update(table: Table) -> str:
    """Rows are paired by primary key. One whose key changed is another one, in all columns that have values.

    A full join is never done by nested loops, which a plan that was made for a few rows would use for many.
    """
    quote = connection.ops.quote_name
    same = " AND ".join(f"o.{quote(column)} = n.{quote(column)}" for column in table.key)
    changed = _changed(table, lambda name: f"bool_or({_differ(f'o.{quote(name)}', f'n.{quote(name)}')})")
    return _safely(
        table,
        f"""
        SELECT count(*), array_to_string(ARRAY[{changed}], ',') INTO _many, _columns
            FROM {OLD} o FULL JOIN {NEW} n ON {same} WHERE {_differ("o.*", "n.*")};
        IF _many = 0 THEN RETURN NULL; END IF;
        _columns := nullif(_columns, '');
        {_rows(table, OLD, NEW)}
        """,
    )


def of_row_update(table: Table) -> str:
    """The same for one row, where columns are excepted: `condition` has said that others changed."""
    quote = connection.ops.quote_name
    changed = _changed(table, lambda name: _differ(f"OLD.{quote(name)}", f"NEW.{quote(name)}"))
    rows = " UNION ".join(
        f"SELECT {', '.join(f'{row}.{quote(name)}' for name in table.values)}" for row in ("OLD", "NEW")
    )
    told = f"SELECT json_agg({ROW})::text INTO _rows FROM ({rows}) {ROW};" if table.values else ""
    return _safely(table, f"_columns := array_to_string(ARRAY[{changed}], ','); {told}")


def condition(table: Table) -> str:
    """That something changed in a column whose changes are told."""
    old, new = (
        ", ".join(f"{row}.{connection.ops.quote_name(name)}" for name in table.columns)
        for row in ("OLD", "NEW")
    )
    return f"({_differ(old, new)})"


def _changed(table: Table, condition: Callable[[str], str]) -> str:
    """The names, as JSON, of the columns of which this is true; NULL for each of the others."""
    return ", ".join(
        f"CASE WHEN {condition(name)} THEN {_text(json.dumps(name))} END" for name in table.columns
    )


def _differ(old: str, new: str) -> str:
    """Compared byte by byte: equality is not the same for every type, and some have none."""
    return f"ROW({old})::record *<> ROW({new})::record"


def _none(rows: str) -> str:
    return f"IF NOT EXISTS (SELECT FROM {rows}) THEN RETURN NULL; END IF;"


def _rows(table: Table, *sets: str) -> str:
    if not table.values:
        return ""
    names = ", ".join(map(connection.ops.quote_name, table.values))
    rows = " UNION ".join(f"SELECT {names} FROM {each}" for each in sets)
    return f"""
        IF (SELECT count(*) FROM (SELECT FROM {sets[0]} LIMIT {MOST_ROWS + 1}) s) <= {MOST_ROWS} THEN
            SELECT json_agg({ROW})::text INTO _rows FROM ({rows}) {ROW};
        END IF;
        """


def _safely(table: Table, told: str) -> str:
    alone = _text(_alone(table))
    begin = _text(_alone(table).removesuffix("}"))
    return f"""
        BEGIN
            {told}
            _told := {begin};
            IF octet_length(_columns) < {COLUMNS_BYTES} THEN
                _told := _told || ',"c":[' || _columns || ']';
            END IF;
            IF octet_length(_told) + octet_length(_rows) < {PAYLOAD_BYTES} THEN
                _told := _told || ',"r":' || _rows;
            END IF;
            PERFORM pg_notify({_text(CHANNEL)}, _told || '}}');
        EXCEPTION WHEN OTHERS THEN
            PERFORM pg_notify({_text(CHANNEL)}, {alone});
        END;
        RETURN NULL;
        """


def _alone(table: Table) -> str:
    return json.dumps({"t": table.name})


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
