"""A query is declared once, with all that it takes, or not at all."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AbstractBaseUser, Group, User

from realtime.queries.registry import RESERVED, live_query, named_parameters, queries, query_named
from realtime.web.api.schemas import HistoryQuery

pytestmark = pytest.mark.usefixtures("own_queries")


def owns(user: AbstractBaseUser, customer: int) -> bool:
    return True


def test_a_query_is_found_by_its_name_with_what_it_takes() -> None:
    @live_query("open-orders", params={"customer": int}, reads=[User, Group], who=owns, key=["shop", "no"])
    def open_orders(customer: int, user: User) -> list[Any]:
        return []

    @live_query("count", key="id")
    async def count() -> int:
        return 0

    query = query_named("open-orders")
    assert query is not None
    assert (query.function, query.reads, query.who) == (open_orders, {User, Group}, owns)
    assert (query.key, query.takes_user, query.is_async) == (("shop", "no"), True, False)
    assert query.params.model_validate_strings({"customer": "42"}).model_dump() == {"customer": 42}
    assert named_parameters(owns) == ["customer"]
    assert [each.name for each in queries()] == ["count", "open-orders"]
    other = query_named("count")
    assert other is not None
    assert (other.reads, other.who, other.key, other.is_async) == (None, "members", ("id",), True)
    assert query_named("orders") is None


def test_the_function_s_defaults_are_the_parameters_own() -> None:
    @live_query("orders", params={"since_day": datetime.date, "state": str, "customer": int})
    def orders(since_day: Any = "2024-02-29", state: str = "open", customer: int | None = None) -> list[Any]:
        return []

    query = query_named("orders")
    assert query is not None
    assert query.params().model_dump() == {
        "since_day": datetime.date(2024, 2, 29),
        "state": "open",
        "customer": None,
    }


def test_the_same_function_may_come_again_and_another_not() -> None:
    def declare() -> Callable[[], int]:
        @live_query("count")
        def count() -> int:
            return 0

        return count

    declare()
    again = declare()
    query = query_named("count")
    assert query is not None
    assert query.function is again

    with pytest.raises(ValueError, match=r"live_query\('count'\): taken by .*declare.<locals>.count"):
        live_query("count")(lambda: 0)


def _takes_customer(customer: int) -> int:
    return customer


def _takes_anything(**params: int) -> int:
    return 0


def _takes_user(user: User) -> int:
    return 0


def _defaults_wrongly(customer: Any = "ana") -> int:
    return 0


async def _is_async(user: User) -> bool:
    return True


@pytest.mark.parametrize(
    ("declaration", "function", "problem"),
    [
        ({"name": "Open orders"}, int, "a name has"),
        ({"name": ""}, int, "a name has"),
        ({}, _takes_customer, "the type of customer"),
        ({"params": {"customer": int, "state": str}}, _takes_customer, "does not take state"),
        ({"params": {"since": int}}, lambda since: 0, "since means something else"),
        ({"params": {"user": int}}, lambda user: 0, "user means something else"),
        ({"params": {"_customer": int}}, lambda _customer: 0, "_customer cannot be a parameter"),
        ({"params": {"json": int}}, lambda json: 0, "json cannot be a parameter"),
        ({"params": {"größe": int}}, lambda größe: 0, "größe cannot be a parameter"),
        ({"params": {"customer": object()}}, _takes_customer, "no type that can be validated"),
        ({"params": {"customer": int}}, _defaults_wrongly, "default of customer is not of its type"),
        ({}, _takes_anything, "params cannot be given by name"),
        ({"who": "everybody"}, lambda: 0, "give anybody, members, staff, or a function"),
        ({"who": owns}, lambda: 0, "the query has no parameter customer"),
        ({"who": lambda: True}, lambda: 0, "takes the user first"),
        ({"who": _is_async}, lambda: 0, "not async"),
        ({"who": "anybody"}, _takes_user, 'not for "anybody"'),
        ({"reads": [int]}, lambda: 0, "no model with a table"),
        ({"reads": [AbstractBaseUser]}, lambda: 0, "no model with a table"),
        ({"reads": []}, lambda: 0, "name the models, or leave it out"),
        ({"key": "id,shop"}, lambda: 0, "without commas"),
        ({"key": [""]}, lambda: 0, "without commas"),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_declared(
    declaration: dict[str, Any], function: Callable[..., Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        live_query(**({"name": "orders"} | declaration))(function)
    assert queries() == []


def test_no_parameter_has_the_name_of_one_of_the_history_s() -> None:
    assert set(HistoryQuery.model_fields) <= RESERVED
