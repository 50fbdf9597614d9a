"""JMESPath: mistakes found early, nulls told, and no expression that eats the machine."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import BadInput, ExtractError
from realtime.feeds.publication import encode_data
from realtime.sources.extract import compile_expression, parse, pick
from tests import upstream_data

DOCUMENT = {
    "price": {"usd": 1.5},
    "zero": 0,
    "no": False,
    "none": None,
    "list": [3, 1, 2],
    "empty": [],
    "word": "x",
}


def test_real_earthquakes_are_picked_apart() -> None:
    quakes = parse(upstream_data.quakes_at(30), "json")
    assert pick(quakes, "metadata.count") == upstream_data.WINDOW
    assert pick(quakes, "features[0].properties.mag") == quakes["features"][0]["properties"]["mag"]
    strongest = pick(quakes, "max_by(features, &properties.mag).properties.{place: place, magnitude: mag}")
    assert set(strongest) == {"place", "magnitude"}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("", DOCUMENT),
        ("  ", DOCUMENT),
        ("price.usd", 1.5),
        ("zero", 0),
        ("no", False),
        ("empty", []),
        ("sort(list)[-1]", 3),
        ("missing || `0`", 0),
        ("none || 'nothing'", "nothing"),
        ("{sum: sum(list), word: word}", {"sum": 6, "word": "x"}),
    ],
)
def test_the_value_meant_is_picked(expression: str, value: Any) -> None:
    assert pick(DOCUMENT, expression) == value


@pytest.mark.parametrize("expression", ["missing", "price.eur", "none", "list[9]", "word.usd", "max(empty)"])
def test_null_is_a_failure_that_names_the_fallback(expression: str) -> None:
    with pytest.raises(ExtractError) as caught:
        pick(DOCUMENT, expression)
    assert expression in caught.value.message
    assert "|| `0`" in caught.value.message


def test_a_null_document_is_a_failure_unless_there_is_a_fallback() -> None:
    with pytest.raises(ExtractError, match="The answer is null"):
        pick(None, "")
    assert pick(None, "price || `0`") == 0


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("a[", "ends too early, after character 2"),
        ("a.", "ends too early"),
        ("a b", "'b' is not expected at character 3"),
        ("a..b", "at character 3"),
        ("a.#", "cannot be read at character 3"),
        ("'open", "at character 1"),
        ("a = b", "at character 3"),
        ("foo(a)", "no function foo"),
        ("list[?foo(@)]", "no function foo"),
        ("length(a, b)", "takes 1 arguments, not 2"),
        ("merge()", "at least 1"),
        ("(" * 51 + "a" + ")" * 51, "nested too deeply"),
        ("!" * 100 + "a", "nested too deeply"),
        ("!" * 999 + "a", "nested too deeply"),
        ("a" * 1001, "1,000 characters"),
    ],
)
def test_a_mistake_is_found_before_anything_runs_with_its_place(expression: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        compile_expression(expression, field="feeds.0.expression")
    assert caught.value.field == "feeds.0.expression"
    assert caught.value.message.startswith("feeds.0.expression: ")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("sum(word)", r"sum\(\) takes array-number, but got string"),
        ("sort_by(list, &@.x)", "takes"),
        ("list[::0]", "does not suit"),
        ("ceil(`1e400`)", "does not suit"),
        ("to_number('nan')", "not a JSON number"),
        ("to_number('inf')", "not a JSON number"),
        ("`NaN`", "not a JSON number"),
        ("&price", "part of itself"),
        ("[&price]", "part of itself"),
        ("{a: [&price]}", "part of itself"),
    ],
)
def test_an_expression_that_does_not_suit_the_answer_is_told(expression: str, words: str) -> None:
    with pytest.raises(ExtractError, match=words):
        pick(DOCUMENT, expression)


@pytest.mark.parametrize(
    "expression",
    [
        "[@,@]" + "|[@,@]" * 90,
        "{a:@,b:@}" + "|{a:@,b:@}" * 90,
        "long" + "|[@,@][]" * 90,
        "text" + "|join('',[@,@])" * 60,
        "join(text, long[*].to_string(@))",
        "[@,@]" + "|[@,@]" * 90 + "|to_string(@)",
        "long" + "|map(&[@,@],@)" * 60,
    ],
)
def test_an_expression_that_doubles_its_value_again_and_again_is_ended(expression: str) -> None:
    document = {"long": list(range(50_000)), "text": "x" * 500_000}
    started = time.process_time()
    with pytest.raises(ExtractError, match="builds too much"):
        pick(document, expression)
    assert time.process_time() - started < 60


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=15,
)
PIECES = [
    *(
        "a",
        "b",
        "c",
        ".",
        "[",
        "]",
        "[*]",
        "[]",
        "[?",
        "[0]",
        "[-1]",
        "[::2]",
        "|",
        "||",
        "&&",
        "!",
        "==",
        "<",
        "@",
    ),
    *(
        "(",
        ")",
        "&",
        ",",
        "{",
        "}",
        ":",
        "*",
        "`1`",
        "`[1]`",
        "'x'",
        '"a"',
        "length(",
        "sort(",
        "sum(",
        "keys(",
    ),
    *(
        "sort_by(",
        "max_by(",
        "map(",
        "to_number(",
        "to_string(",
        "join(",
        "merge(",
        "not_null(",
        "avg(",
        " ",
        "`",
        "é",
    ),
]


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # jmespath's, for a literal like `x`
@given(JSON, st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=20))
def test_any_expression_on_any_document_is_a_json_value_or_a_clear_error(
    document: Any, expression: str
) -> None:
    try:
        value = pick(document, expression)
    except (BadInput, ExtractError):
        return
    assert json.loads(encode_data(value, limit_bytes=1_000_000)) == value
