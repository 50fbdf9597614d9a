"""CSV with a header row: a list of objects, one per row, with all values as strings."""

from __future__ import annotations

import csv
import io

from realtime.errors import ExtractError

from .charset import decode

COLUMN_LIMIT = 1000
CELL_LIMIT = 500_000  # a short row costs memory for every column of the header


def read_csv(body: bytes, content_type: str) -> list[dict[str, str]]:
    """Rows in order; JMESPath's `to_number` makes numbers of cells.

    The separator is the comma, or the semicolon or tab when the header has no comma. Blank lines are left
    out, missing cells are empty. Raises ExtractError with the line for rows longer than the header.
    """
    text = decode(body, content_type)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text))
    try:
        header = next((row for row in rows if any(cell.strip() for cell in row)), None)
        if header is None:
            raise ExtractError("The answer is empty: no header row.")
        names = _names(header)
        found: list[dict[str, str]] = []
        for row in rows:
            if not row:
                continue
            if any(row[len(names) :]):
                raise ExtractError(f"Line {rows.line_num} has more cells than the header's {len(names)}.")
            if (len(found) + 1) * len(names) > CELL_LIMIT:
                raise ExtractError(f"The answer has more than {CELL_LIMIT:,} cells.")
            row += [""] * (len(names) - len(row))
            found.append(dict(zip(names, row, strict=False)))
    except csv.Error as error:
        raise ExtractError(f"Line {rows.line_num} is not CSV ({error}).") from None
    return found


def _separator(text: str) -> str:
    header = text.lstrip("\r\n").partition("\n")[0]
    return next((mark for mark in ",;\t" if mark in header), ",")


def _names(header: list[str]) -> list[str]:
    """The columns' names; those without one are called by their place."""
    if len(header) > COLUMN_LIMIT:
        raise ExtractError(f"The header has more than {COLUMN_LIMIT:,} columns.")
    names = [cell.strip() or f"column_{place}" for place, cell in enumerate(header, start=1)]
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise ExtractError(f"The header names two columns {min(twice)[:50]!r}.")
    return names
