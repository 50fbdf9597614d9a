"""Who reads what: finds those whom a change may affect without asking everybody. No Django, no I/O.

A thousand queries of one table that differ in a value, as `customer=42`, are found by the values of the rows
that changed: asking each of them costs a microsecond, for every change anywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Set
from typing import Generic, TypeVar

from .changes import Change, Footprint, Reads, Text, affects

T = TypeVar("T", bound=Hashable)


class Readers(Generic[T]):
    """Readers and their footprints. `affected` yields exactly those for whom `changes.affects` is true."""

    def __init__(self) -> None:
        self._footprints: dict[T, Footprint] = {}
        self._tables: dict[str, _Table[T]] = {}

    def put(self, reader: T, footprint: Footprint) -> None:
        """This is what it reads from now on."""
        if self._footprints.get(reader) == footprint:
            return
        self.drop(reader)
        self._footprints[reader] = footprint
        for name, reads in footprint.items():
            self._tables.setdefault(name, _Table()).put(reader, reads)

    def drop(self, reader: T) -> None:
        """Forget it. Idempotent."""
        for name, reads in self._footprints.pop(reader, {}).items():
            table = self._tables[name]
            table.drop(reader, reads)
            if table.is_empty:
                del self._tables[name]

    def affected(self, change: Change) -> Iterator[T]:
        """Those who may have another result after this change, each once."""
        if not change.table:
            yield from list(self._footprints)
        elif (table := self._tables.get(change.table)) is not None:
            for reader in table.candidates(change):
                if affects(change, self._footprints[reader]):
                    yield reader


class _Table(Generic[T]):
    """The readers of one table. Who asks for values of some columns is kept by those of one such column."""

    def __init__(self) -> None:
        self._others: set[T] = set()
        self._column: dict[T, str] = {}
        self._by_value: defaultdict[str, defaultdict[Text, set[T]]] = defaultdict(lambda: defaultdict(set))

    def put(self, reader: T, reads: Reads) -> None:
        if not reads.equals:
            self._others.add(reader)
            return
        # The column whose values have the fewest readers so far: it tells them apart best.
        column = min(sorted(reads.equals), key=lambda name: self._crowd(name, reads.equals[name]))
        self._column[reader] = column
        for value in reads.equals[column]:
            self._by_value[column][value].add(reader)

    def _crowd(self, column: str, values: Set[Text]) -> int:
        if column not in self._by_value:
            return 0
        return sum(len(self._by_value[column].get(value, ())) for value in values)

    def drop(self, reader: T, reads: Reads) -> None:
        self._others.discard(reader)
        column = self._column.pop(reader, None)
        if column is None:
            return
        by_value = self._by_value[column]
        for value in reads.equals[column]:
            by_value[value].discard(reader)
            if not by_value[value]:
                del by_value[value]
        if not by_value:
            del self._by_value[column]

    @property
    def is_empty(self) -> bool:
        return not self._others and not self._column

    def candidates(self, change: Change) -> set[T]:
        """All but those who ask for values of their column that no row of this change has."""
        if change.rows is None:
            return self._others | self._column.keys()
        found = set(self._others)
        for column, by_value in self._by_value.items():
            if all(column in row for row in change.rows):
                found.update(*(by_value.get(row[column], ()) for row in change.rows))
            else:
                found.update(*by_value.values())
        return found
