"""What queries read is known before anybody asks: they are tried, and the database is left alone."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Annotated, Any, Literal

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import Count
from pydantic import Field, StringConstraints

from docs.examples.orders.models import Customer, Order, Tag
from realtime.queries.heard import heard_names
from realtime.queries.probing import NoSample, probes, tables_of
from realtime.queries.registry import LiveQuery, live_query, query_named


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


def declare(function: Any, **declaration: Any) -> LiveQuery:
    live_query("tried", **declaration)(function)
    query = query_named("tried")
    assert query is not None
    return query


def test_a_queryset_shows_its_tables_without_any_database() -> None:
    """Which this test has none of."""
    query = query_named("recent-orders")
    assert query is not None
    (probe,) = probes(query)
    assert probe.result.model is Order
    order_tables = {"orders_order", "orders_order_tags", "orders_customer", "orders_tag"}
    assert set(tables_of(query)) == order_tables
    assert order_tables <= heard_names()


@pytest.mark.parametrize(
    "kind",
    [
        *(int, bool, str, float, decimal.Decimal, uuid.UUID, Size, Literal["a", "b"], int | None),
        *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
        *(Annotated[int, Field(ge=7)], Annotated[int, Field(gt=7, lt=9)], Annotated[int, Field(lt=0)]),
        Annotated[str, StringConstraints(min_length=3, max_length=3)],
        Annotated[str, Field(pattern="^[x-z]$", examples=["y"])],
    ],
)
def test_a_value_is_found_for_a_parameter_of_any_type(kind: Any, own_queries: None) -> None:
    def orders(given: Any) -> Any:
        return Order.objects.filter(note=repr(given))

    (probe, *_) = probes(declare(orders, params={"given": kind}))
    assert probe.result.model is Order


@pytest.mark.parametrize(
    "kind", [list[int], Annotated[str, Field(pattern="^[x-z]$")], list[int] | dict[str, int]]
)
def test_a_parameter_of_which_no_value_is_known_is_named(kind: Any, own_queries: None) -> None:
    query = declare(lambda given: Order.objects.all(), params={"given": kind})
    with pytest.raises(NoSample, match=r"^given$"):
        probes(query)
    assert tables_of(query) == {}


def test_every_value_that_is_known_is_tried(own_queries: None) -> None:
    def things(kind: str, tag: str | None = None, staff: bool = False) -> Any:
        if kind == "customers":
            return Customer.objects.all()
        if staff:
            return Group.objects.all()
        return Tag.objects.all() if tag else Order.objects.all()

    query = declare(things, params={"kind": Literal["orders", "customers"], "tag": str, "staff": bool})
    assert set(tables_of(query)) == {"orders_order", "orders_customer", "orders_tag", "auth_group"}


def test_a_user_s_query_is_tried_with_a_user(own_queries: None) -> None:
    query = declare(lambda user: Order.objects.filter(customer__user=user.pk, note=user.get_username()))
    assert set(tables_of(query)) == {"orders_order", "orders_customer"}


@pytest.mark.django_db
def test_what_a_function_reads_at_once_it_does_not_find(
    own_queries: None, django_assert_num_queries: Any
) -> None:
    User.objects.create_user("ana")
    seen: list[Any] = []

    def orders() -> Any:
        seen.extend(
            [User.objects.first(), User.objects.count(), User.objects.exists(), [*User.objects.all()]]
        )
        seen.append(User.objects.aggregate(count=Count("pk"))["count"])
        return Order.objects.filter(pk__in=[*User.objects.values_list("pk", flat=True).iterator()])

    query = declare(orders)
    with django_assert_num_queries(0):
        (only,) = probes(query)
    assert seen == [None, 0, False, [], 0]
    assert only.eager
    assert User.objects.count() == 1  # it is the real database again


def test_what_is_declared_is_read_besides(own_queries: None) -> None:
    assert set(tables_of(declare(lambda: Order.objects.all(), reads=[Tag]))) == {
        *("orders_order", "orders_tag", "orders_order_tags")
    }


@pytest.mark.parametrize("result", [Order.objects.extra(select={"one": "1"}), None, 5])
def test_what_shows_nothing_is_heard_as_declared(
    result: Any, own_queries: None, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> Any:
        if result is None:
            raise RuntimeError("out of order")
        return result

    assert set(tables_of(declare(fails, reads=[Customer]))) == {"orders_customer"}
    assert ("query_not_tried name=tried RuntimeError" in caplog.text) is (result is None)


def test_a_coroutine_is_not_called(own_queries: None) -> None:
    async def count() -> int:
        raise AssertionError

    query = declare(count, reads=[Customer])
    assert probes(query) == []
    assert set(tables_of(query)) == {"orders_customer"}
