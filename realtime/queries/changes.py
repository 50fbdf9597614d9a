"""What is known of a change of rows, and which queries it cannot have affected. No Django, no I/O.

A *footprint* says what an evaluation read: tables, columns, and the values that rows must have to count. A
*change* says what happened to a table. Both may say less than the truth, never more: what is not known counts
as affected.

Values are compared as text: numbers in decimal, truth as "1" and "0", everything else as the database has it.
None is NULL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Text = str | None


@dataclass(frozen=True, slots=True)
class Change:
    """Rows of one table were inserted, updated or deleted.

    table     its name in the database; empty: anything may have changed, anywhere
    columns   those of which an update changed a value; None: all, as of an insert, or not known
    rows      what some columns of each touched row held before and hold after; None: not known. A row lacks
              the columns of which nothing is known.
    """

    table: str
    columns: frozenset[str] | None = None
    rows: tuple[Mapping[str, Text], ...] | None = None


EVERYTHING = Change("")


@dataclass(frozen=True, slots=True)
class Reads:
    """What is read of one table.

    columns   None: all of them; those of `equals` are always among them
    equals    columns that a row must hold one of these values in, or it counts for nothing
    """

    columns: frozenset[str] | None = None
    equals: Mapping[str, frozenset[Text]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Whether a row counts is read from them, whoever forgot to name them.
        if self.columns is not None and not self.equals.keys() <= self.columns:
            object.__setattr__(self, "columns", self.columns | self.equals.keys())


# By table.
Footprint = Mapping[str, Reads]
# Its SQL, and its parameters.
Statement = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Read:
    """What an evaluation read, and the statements that did: the same ones read the same."""

    statements: tuple[Statement, ...]
    footprint: Footprint


def affects(change: Change, footprint: Footprint) -> bool:
    """Whether a query with this footprint may have another result after this change."""
    if not change.table:
        return True
    reads = footprint.get(change.table)
    if reads is None:
        return False
    if change.columns is not None and reads.columns is not None and not (change.columns & reads.columns):
        return False
    if change.rows is None or not reads.equals:
        return True
    return any(_counts(row, reads) for row in change.rows)


def _counts(row: Mapping[str, Text], reads: Reads) -> bool:
    return all(column not in row or row[column] in values for column, values in reads.equals.items())


def text_of(value: Any) -> Text:
    """A value as footprints and changes compare it. Raises TypeError for what has no certain text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):  # truth, too
        return str(int(value))
    raise TypeError(f"{type(value).__name__}: no certain text")


def merged(footprints: Iterable[Footprint]) -> dict[str, Reads]:
    """What several evaluations read together."""
    whole: dict[str, Reads] = {}
    for footprint in footprints:
        for table, reads in footprint.items():
            other = whole.get(table)
            whole[table] = reads if other is None else _union(other, reads)
    return whole


def _union(one: Reads, two: Reads) -> Reads:
    columns = None if one.columns is None or two.columns is None else one.columns | two.columns
    # Only what both ask for is asked of a row that counts for either.
    equals = {name: one.equals[name] | two.equals[name] for name in one.equals.keys() & two.equals.keys()}
    return Reads(columns, equals)
