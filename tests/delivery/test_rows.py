"""What changed between two lists of rows: their very texts, the fewest moves, and when it is worth saying."""

from __future__ import annotations

import json
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.delivery.rows import difference, key_names, read_rows, row_delta
from tests.delivery.applying import applied

NAMES = (["id"], ["id", "part"])
# What Python takes for equal, JSON does not: 1, 1.0 and true; nor do objects of another order.
VALUES = st.sampled_from([0, 1, 1.0, True, None, "", "1", "ü\u2028", [1], {"a": 1, "b": 2}, {"b": 2, "a": 1}])
KEYS = st.one_of(st.integers(-3, 12), st.sampled_from(["", "1", "a", "ü", '"', "\\", True, False]))


def written(value: Any) -> str:
    """As the store writes a value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def text_of_key(row: dict[str, Any], names: list[str]) -> str:
    return written(row[names[0]] if len(names) == 1 else [row[name] for name in names])


@st.composite
def keyed_lists(draw: st.DrawFn, names: list[str]) -> list[dict[str, Any]]:
    rows = st.fixed_dictionaries(dict.fromkeys(names, KEYS), optional={"x": VALUES, "y": VALUES})
    return draw(st.lists(rows, unique_by=lambda row: text_of_key(row, names), max_size=12))


@pytest.mark.parametrize("names", NAMES)
@given(data=st.data())
def test_what_is_applied_to_the_one_list_makes_the_other(names: list[str], data: st.DataObject) -> None:
    before, value = [data.draw(keyed_lists(names)) for _ in range(2)]
    if data.draw(st.booleans()):
        # Mostly the same rows, in another order, some of them much alike.
        alike = [{name: data.draw(VALUES) if name == "x" else row[name] for name in row} for row in before]
        value = data.draw(st.permutations([*alike, *value]))
        value = list({text_of_key(row, names): row for row in value}.values())
    old, new = read_rows(written(before), names), read_rows(written(value), names)
    assert old is not None
    assert new is not None
    assert [json.loads(row) for row in new.values()] == value
    made = difference(old, new)
    rows = {
        "removed": [json.loads(key) for key in made.removed],
        "changed": [json.loads(row) for row in made.changed],
        "added": [json.loads(row) for row in made.added],
        "order": [[json.loads(key), json.loads(after)] for key, after in made.order],
    }
    assert written(applied(before, names, rows)) == written(value)
    assert not {*made.removed, *made.changed} & {*made.added}
    delta = row_delta(written(before), written(value), names)
    assert delta == written({name: items for name, items in rows.items() if items}) or (
        delta is None and len(written(value)) < len(written(rows))
    )


@given(st.permutations(range(7)), st.sets(st.integers(0, 6)), st.sets(st.integers(7, 9)))
def test_no_order_is_made_by_more_moves_than_it_needs(
    order: list[int], gone: set[int], come: set[int]
) -> None:
    old = {str(key): "{}" for key in range(7) if key not in gone}
    new = {str(key): "{}" for key in [*come, *(key for key in order if key not in gone)]}
    before_moves = [key for key in old if key in new] + [key for key in new if key not in old]
    place = {key: at for at, key in enumerate(new)}
    longest = next(
        size
        for size in range(len(new), -1, -1)
        if any(
            all(place[one] < place[two] for one, two in pairwise(some))
            for some in combinations(before_moves, size)
        )
    )
    assert len(difference(old, new).order) == len(new) - longest


def test_what_a_delta_says() -> None:
    before = [{"id": 1, "n": "one"}, {"id": 2, "n": "two"}, {"id": 3, "n": "three"}, {"id": 4, "n": "x" * 99}]
    value = [{"id": 5, "n": "five"}, before[0], before[2] | {"n": "III"}, before[3]]
    assert row_delta(written(before), written(value), ["id"]) == written(
        {
            "removed": [2],
            "changed": [{"id": 3, "n": "III"}],
            "added": [{"id": 5, "n": "five"}],
            "order": [[5, None]],
        }
    )
    assert row_delta(written(before), written(before), ["id"]) == "{}", "published again"
    assert row_delta(written(before), "[]", ["id"]) is None, "the value is shorter"
    assert row_delta(written([]), written(before), ["id"]) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "7",
        "{}",
        '"[]"',
        "[",
        '[{"id":1}',
        '[{"id":1},',
        '[{"id":1},]',
        '[{"id":1}]x',
        '[{"id":1}, {"id":2}]',
        '[{"id":1},2]',
        '[{"id":1},{"n":1}]',
        '[{"id":1},{"id":1}]',
        '[{"id":1},{"id":1.0}]',
        '[{"id":1.5}]',
        '[{"id":null}]',
        '[{"id":{}}]',
        '[{"id":[1.5]}]',
        '[{"id":9007199254740993}]',
        '[{"id":-9007199254740993}]',
        '[{"id":' + "9" * 5_000 + "}]",
        '[{"id":1,"deep":' + "[" * 100_000 + "]" * 100_000 + "}]",
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_list_of_keyed_rows_comes_whole(text: str) -> None:
    good = '[{"id":1,"n":"' + "x" * 200_000 + '"}]'
    assert read_rows(text, ["id"]) is None
    assert row_delta(text, good, ["id"]) is None
    assert row_delta(good, text, ["id"]) is None
    assert row_delta(good, good, ["other"]) is None
    assert row_delta(good, good, []) is None


def test_a_null_is_a_part_of_a_key_and_an_array_is_a_key() -> None:
    assert read_rows('[{"a":null,"b":1},{"a":null,"b":2}]', ["a", "b"]) is not None
    assert read_rows('[{"pk":[1,"x"]},{"pk":[1,"y"]}]', ["pk"]) is not None


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        ("", []),
        ("{}", []),
        ('{"key":""}', []),
        ('{"unit":"s"}', []),
        ('{"key":"id"}', ["id"]),
        ('{"key":"customer__id,day","unit":"s"}', ["customer__id", "day"]),
    ],
)
def test_the_key_is_named_by_a_tag(tags: str, names: list[str]) -> None:
    assert key_names(tags) == names
