"""Which queries a change cannot have affected: never one that has another result, however little is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.queries.changes import EVERYTHING, Change, Footprint, Reads, Text, affects, merged, text_of

TABLES = ("orders", "customers")
COLUMNS = ("id", "customer", "note")

Row = Mapping[str, Text]
Database = Mapping[str, Sequence[Row]]

TEXTS: st.SearchStrategy[Text] = st.sampled_from([None, "1", "2"])
ROWS: st.SearchStrategy[Row] = st.fixed_dictionaries(dict.fromkeys(COLUMNS, TEXTS))
SOME = st.frozensets(st.sampled_from(COLUMNS))
READS = st.builds(
    Reads,
    st.none() | SOME,
    st.dictionaries(st.sampled_from(COLUMNS), st.frozensets(TEXTS, min_size=1), max_size=2),
)
FOOTPRINTS: st.SearchStrategy[Footprint] = st.dictionaries(st.sampled_from(TABLES), READS, min_size=1)
DATABASES = st.fixed_dictionaries(dict.fromkeys(TABLES, st.lists(ROWS, min_size=1, max_size=3)))


def result(footprint: Footprint, database: Database) -> Any:
    """That of the query which reads just this: of the rows that count, the columns that are read."""
    return {
        table: Counter(
            tuple(row[name] for name in COLUMNS if reads.columns is None or name in reads.columns)
            for row in database[table]
            if all(row[name] in values for name, values in reads.equals.items())
        )
        for table, reads in footprint.items()
    }


@st.composite
def writes(draw: st.DrawFn) -> tuple[Database, Database, Change]:
    """The rows before a write and after it, and what is known of the change."""
    before = draw(DATABASES)
    table = draw(st.sampled_from(TABLES))
    old = before[table]
    what = draw(st.sampled_from(["insert", "update", "delete"]))
    columns: frozenset[str] | None = None
    touched: list[Row]
    if what == "insert":
        touched = draw(st.lists(ROWS, min_size=1, max_size=2))
        new = [*old, *touched]
    elif what == "delete":
        new = draw(st.lists(st.sampled_from(old), unique_by=id))
        touched = [row for row in old if not any(row is kept for kept in new)]
    else:
        values = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, TEXTS)))
        chosen = [draw(st.booleans()) for _ in old]
        new = [{**row, **values} if each else row for row, each in zip(old, chosen, strict=True)]
        pairs = [pair for pair, each in zip(zip(old, new, strict=True), chosen, strict=True) if each]
        touched = [row for pair in pairs for row in pair]
        columns = frozenset(name for one, two in pairs for name in COLUMNS if one[name] != two[name])
    return before, {**before, table: new}, Change(table, columns, tuple(touched))


@st.composite
def with_less_known(draw: st.DrawFn, change: Change) -> Change:
    columns = draw(st.none() | st.just(change.columns))
    if columns is not None:
        columns |= draw(SOME)
    if change.rows is None or draw(st.booleans()):
        return Change(change.table, columns)
    known = [draw(SOME) for _ in change.rows]
    rows = (
        {name: row[name] for name in some if name in row}
        for row, some in zip(change.rows, known, strict=True)
    )
    return Change(change.table, columns, tuple(rows))


def results(footprints: Iterable[Footprint], database: Database) -> list[Any]:
    return [result(footprint, database) for footprint in footprints]


@settings(max_examples=250)
@given(writes(), st.lists(FOOTPRINTS, min_size=1, max_size=2), st.data())
def test_a_query_that_is_not_affected_has_the_same_result(
    write: tuple[Database, Database, Change], footprints: list[Footprint], data: st.DataObject
) -> None:
    before, after, change = write
    change = data.draw(with_less_known(change))
    for footprint in footprints:
        if not affects(change, footprint):
            assert result(footprint, before) == result(footprint, after)
    if not affects(change, merged(footprints)):
        assert results(footprints, before) == results(footprints, after)


CHANGES = st.builds(
    Change,
    st.sampled_from([*TABLES, "others", ""]),
    st.none() | SOME,
    st.none()
    | st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, TEXTS)), max_size=2).map(tuple),
)


@given(CHANGES, st.lists(FOOTPRINTS, max_size=4))
def test_what_affects_a_part_affects_the_whole(change: Change, parts: list[Footprint]) -> None:
    whole = merged(parts)
    if any(affects(change, part) for part in parts):
        assert affects(change, whole)
    assert merged(reversed(parts)) == whole
    assert merged([whole, *parts]) == whole, "what is in it already adds nothing"
    for at in range(len(parts)):
        assert merged([merged(parts[:at]), merged(parts[at:])]) == whole


@given(CHANGES, FOOTPRINTS, st.data())
def test_to_know_less_never_spares_a_query(change: Change, footprint: Footprint, data: st.DataObject) -> None:
    if affects(change, footprint):
        assert affects(data.draw(with_less_known(change)), footprint)
        for table, reads in footprint.items():
            assert affects(change, {**footprint, table: replace(reads, columns=None)})
            assert affects(change, {**footprint, table: replace(reads, equals={})})


@given(CHANGES, FOOTPRINTS)
def test_what_is_not_known_at_all_affects_every_query(change: Change, footprint: Footprint) -> None:
    assert affects(EVERYTHING, footprint)
    assert affects(replace(change, table=""), footprint)
    assert affects(Change(change.table), footprint) == (not change.table or change.table in footprint)


ORDERS = {"orders": Reads(frozenset({"id", "total"}), {"customer": frozenset({"42", None})})}


@pytest.mark.parametrize(
    ("change", "affected"),
    [
        (Change("customers"), False),
        (Change("orders"), True),
        (Change("orders", frozenset({"note"})), False),
        (Change("orders", frozenset({"note", "total"})), True),
        (Change("orders", frozenset({"customer"})), True),
        (Change("orders", None, ({"customer": "7"},)), False),
        (Change("orders", None, ({"customer": "7"}, {"customer": "42"})), True),
        (Change("orders", None, ({"customer": None},)), True),
        (Change("orders", None, ({"id": "1"},)), True),
        (Change("orders", None, ({"customer": "7"}, {})), True),
        (Change("orders", None, ()), False),
        (Change("orders", frozenset({"total"}), ({"customer": "7"},)), False),
        (Change("orders", frozenset({"note"}), ({"customer": "42"},)), False),
    ],
)
def test_only_what_is_certain_spares_a_query(change: Change, affected: bool) -> None:
    assert affects(change, ORDERS) is affected


@pytest.mark.parametrize(
    ("value", "text"), [(None, None), ("x", "x"), ("", ""), (0, "0"), (-7, "-7"), (True, "1"), (False, "0")]
)
def test_values_are_compared_as_text(value: Any, text: Text) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize("value", [1.0, b"x", [], {}, object()])
def test_what_has_no_certain_text_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="no certain text"):
        text_of(value)
