"""One query with one set of parameters has one name, however it was asked for."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import BadInput, NotFound
from realtime.queries import blocks, registry
from realtime.queries.names import Asked, query_of, read_name, spelled
from realtime.queries.registry import live_query


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large&wide"


TYPES: dict[str, Any] = {
    "customer": int,
    "open": bool,
    "tag": str,
    "day": datetime.date,
    "at": datetime.datetime,
    "hour": datetime.time,
    "within": datetime.timedelta,
    "part": uuid.UUID,
    "price": decimal.Decimal,
    "ratio": float,
    "size": Size,
    "state": Literal["new", "old"],
}


@pytest.fixture(autouse=True)
def declared(own_queries: None) -> None:
    @live_query("orders", params={"customer": int, "state": str, "tag": str, "open": bool})
    def orders(customer: int, state: str = "new", tag: str | None = None, open: bool = True) -> int:  # noqa: A002
        return 0

    @live_query("mine", params={"zone": str})
    def mine(user: object, zone: str = "") -> int:
        return 0

    @live_query("all-types", params=TYPES)
    def all_types(
        customer: Any = 1,
        open: Any = None,  # noqa: A002
        tag: Any = "a b",
        day: Any = None,
        at: Any = None,
        hour: Any = None,
        within: Any = None,
        part: Any = None,
        price: Any = "1.50",
        ratio: Any = 0.5,
        size: Any = Size.SMALL,
        state: Any = "new",
    ) -> int:
        return 0


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("query:orders?customer=42", "query:orders?customer=42"),
        ("query:orders?state=old&customer=042&", "query:orders?customer=42&state=old"),
        ("query:orders?state=new&customer=42&open=1", "query:orders?customer=42"),
        ("query:orders?customer=42&open=no", "query:orders?customer=42&open=false"),
        ("query:orders?customer=-0", "query:orders?customer=0"),
        ("query:orders?customer=42&tag=", "query:orders?customer=42&tag="),
        ("query:orders?tag=a+b%2Fc&customer=1", "query:orders?customer=1&tag=a%20b%2Fc"),
        ("query:orders?tag=größe&customer=1", "query:orders?customer=1&tag=gr%C3%B6%C3%9Fe"),
        ("query:orders?customer=1&tag=%22%5C%23%26~", "query:orders?customer=1&tag=%22%5C%23%26~"),
        ("query:mine", "query:mine"),
        ("query:mine?", "query:mine"),
        ("query:mine?zone=a&user=7", "query:mine?user=7&zone=a"),
    ],
)
def test_every_spelling_has_one_canonical_name(spelling: str, canonical: str) -> None:
    asked = read_name(spelling)
    assert asked.slug == asked.base == canonical
    assert read_name(canonical) == asked


def test_a_name_says_the_function_s_parameters_in_their_types() -> None:
    asked = read_name("query:orders?customer=42&open=false")
    assert asked.values == {"customer": 42, "state": "new", "tag": None, "open": False}
    assert (asked.query.name, asked.user, asked.block) == ("orders", "", "")
    assert read_name("query:mine?user=7").user == "7"


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=10)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "customer": st.integers(),
        "open": st.booleans(),
        "tag": TEXT,
        "day": st.dates(),
        "at": st.datetimes(timezones=st.sampled_from([None, datetime.UTC])),
        "hour": st.times(),
        "within": st.timedeltas(
            min_value=datetime.timedelta(days=-9999), max_value=datetime.timedelta(days=9999)
        ),
        "part": st.uuids(),
        "price": st.decimals(allow_nan=False, allow_infinity=False, places=2),
        "ratio": st.floats(allow_nan=False, allow_infinity=False),
        "size": st.sampled_from(Size),
        "state": st.sampled_from(["new", "old"]),
    },
)


@given(VALUES)
def test_values_of_every_type_come_back_from_the_name(values: dict[str, Any]) -> None:
    """What is too long for a name is another test's."""
    query = registry.query_named("all-types")
    assert query is not None
    asked = Asked(query, query.params().model_dump() | values, "", "")
    try:
        again = read_name(asked.slug)
    except BadInput as error:
        assert error.field == "params"  # noqa: PT017 - the only reason there may be
        assert len(asked.slug) > 255
        return
    assert again.values == asked.values
    assert again.slug == asked.slug
    assert asked.slug.isascii()
    assert read_name(spelled("all-types", values)) == again


@pytest.mark.parametrize(
    ("name", "field", "says"),
    [
        ("query:orders", "params.customer", "orders needs it"),
        ("query:orders?customer=ana", "params.customer", "valid integer"),
        ("query:orders?customer=", "params.customer", "valid integer"),
        ("query:orders?customer=1&customer=2", "params.customer", "more than once"),
        ("query:orders?customer=1&colour=red", "params.colour", "takes customer, state, tag, open"),
        ("query:orders?customer=1&user=2", "params.user", "orders takes"),
        ("query:orders?customer=1&tag=%00", "params.tag", "cannot be printed"),
        ("query:orders?customer=1&tag=%ff", "params", "not UTF-8"),
        ("query:orders?customer=1&%00=1", "params", "cannot be printed"),
        ("query:mine?user=7&user=8", "params.user", "more than once"),
        (f"query:orders?customer=1&tag={'é' * 50}", "params", "the limit is 255"),
    ],
)
def test_a_wrong_parameter_is_named(name: str, field: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        read_name(name)
    assert caught.value.field == field
    assert query_of(name).name in name


@pytest.mark.parametrize(
    "name", ["query:other", "query:", "query", "feed:orders", "orders", "", "query:orders/x"]
)
def test_a_name_of_no_query_is_not_found(name: str) -> None:
    with pytest.raises(NotFound):
        read_name(name)
    with pytest.raises(NotFound):
        query_of(name)


def test_a_block_is_part_of_the_feed_s_name_and_not_of_the_value_s(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(block_id: str, query: str) -> None:
        if (block_id, query) != ("orders/list.html:0:0123abcd", "orders"):
            raise NotFound("There is no such block.")

    monkeypatch.setattr(blocks, "find", find)
    asked = read_name("query:orders?state=old&customer=1#orders/list.html:0:0123abcd")
    assert asked.block == "orders/list.html:0:0123abcd"
    assert asked.base == "query:orders?customer=1&state=old"
    assert asked.slug == "query:orders?customer=1&state=old#orders/list.html:0:0123abcd"
    for block in ("other", 'or"ders', "größe"):
        with pytest.raises(NotFound):
            read_name(f"query:orders?customer=1#{block}")
