"""What would fail or stay unheard once somebody watches is said before, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks

from docs.examples.orders.models import Order
from realtime.queries.checks import check_queries
from realtime.queries.registry import live_query


def found(function: Callable[..., Any], **declaration: Any) -> CheckMessage | None:
    live_query("tried", **declaration)(function)
    messages = check_queries()
    assert len(messages) <= 1
    return messages[0] if messages else None


async def _count() -> int:
    return await Order.objects.acount()


def _eager() -> Any:
    first = Order.objects.order_by("pk").first()
    return Order.objects.filter(pk=first.pk if first else 0).order_by("pk")


def _fails() -> Any:
    return Order.objects.get(pk=1)


def _by_note(note: Any) -> Any:
    return Order.objects.filter(note=note).order_by("pk")


@pytest.mark.parametrize(
    ("function", "params", "number", "says"),
    [
        (_count, {}, "E001", "is a coroutine function"),
        (lambda: [1], {}, "E001", "does not return a queryset"),
        (lambda: Order.objects.raw("SELECT 1 AS id"), {}, "E001", "does not return a queryset"),
        (lambda: Order.objects.extra(where=["1 = 1"]).order_by("pk"), {}, "E002", "SQL written by hand"),
        (_eager, {}, "E003", "reads the database before"),
        (_by_note, {"note": list[str]}, "E004", "want of a value for note"),
        (_fails, {}, "E005", "DoesNotExist"),
    ],
)
def test_what_cannot_be_derived_must_be_declared(
    function: Callable[..., Any], params: dict[str, Any], number: str, says: str, own_queries: None
) -> None:
    message = found(function, params=params)
    assert message is not None
    assert message.id == f"headwater.{number}"
    assert message.is_serious()
    assert message.msg.startswith("The live query tried ")
    assert says in message.msg
    assert message.hint is not None
    assert "reads=[…]" in message.hint
    assert __name__ in str(message)
    assert found(function, params=params, reads=[Order]) is None


def test_rows_in_no_order_are_worth_a_warning(own_queries: None) -> None:
    message = found(lambda: Order.objects.all())
    assert message is not None
    assert message.id == "headwater.W001"
    assert not message.is_serious()


def test_every_query_of_the_site_passes_and_django_runs_the_check() -> None:
    assert check_queries() == []
    assert run_checks(tags=["queries"]) == []


def test_django_hears_of_a_query_that_does_not(own_queries: None) -> None:
    live_query("tried")(_count)
    assert [message.id for message in run_checks(tags=["queries"])] == ["headwater.E001"]
