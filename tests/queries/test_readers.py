"""Whom a change may affect is found without asking everybody, and nobody is missed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime.queries.changes import EVERYTHING, Change, Footprint, Reads, affects
from realtime.queries.readers import Readers

TABLES = st.sampled_from(["order", "customer"])
COLUMNS = st.sampled_from(["id", "customer_id", "open"])
VALUES = st.sampled_from(["1", "2", "3", None])
READS = st.builds(
    Reads,
    st.none() | st.frozensets(COLUMNS, min_size=1),
    st.dictionaries(COLUMNS, st.frozensets(VALUES, min_size=1, max_size=2)),
)
FOOTPRINTS = st.dictionaries(TABLES, READS)
ROWS = st.lists(st.dictionaries(COLUMNS, VALUES), max_size=3).map(tuple)
CHANGES = st.builds(Change, TABLES, st.none() | st.frozensets(COLUMNS, min_size=1), st.none() | ROWS)
NUMBERS = st.integers(0, 5)


@given(
    steps=st.lists(st.tuples(NUMBERS, st.none() | FOOTPRINTS), max_size=20),
    changes=st.lists(CHANGES | st.just(EVERYTHING), max_size=5),
)
def test_exactly_the_affected_are_found(
    steps: list[tuple[int, Footprint | None]], changes: list[Change]
) -> None:
    readers: Readers[int] = Readers()
    footprints: dict[int, Footprint] = {}
    for number, footprint in steps:
        if footprint is None:
            readers.drop(number)
            footprints.pop(number, None)
        else:
            readers.put(number, footprint)
            footprints[number] = footprint
        for change in changes:
            found = list(readers.affected(change))
            assert len(found) == len(set(found))
            assert set(found) == {each for each, read in footprints.items() if affects(change, read)}


def test_those_who_differ_in_a_value_are_found_by_it() -> None:
    readers: Readers[int] = Readers()
    for number in range(1_000):
        equals = {"customer_id": frozenset({str(number)}), "open": frozenset({"1"})}
        readers.put(number, {"order": Reads(None, equals)})
    table = readers._tables["order"]
    row = {"id": "7", "customer_id": "42", "open": "1"}
    assert table.candidates(Change("order", None, (row,))) <= {0, 42}, "the first had nothing to differ in"
    assert list(readers.affected(Change("order", None, (row,)))) == [42]


def test_what_nobody_reads_any_more_is_forgotten() -> None:
    readers: Readers[int] = Readers()
    readers.put(1, {"order": Reads(None, {"id": frozenset({"1"})})})
    readers.put(1, {"customer": Reads()})
    assert list(readers._tables) == ["customer"]
    readers.drop(1)
    readers.drop(1)
    assert not readers._tables
