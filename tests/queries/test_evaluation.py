"""One evaluation after another: what is read is found out anew if something else is asked, and only then."""

from __future__ import annotations

from typing import Any

import pytest

from docs.examples.orders.models import Customer, Order, Tag
from realtime.queries.changes import Read
from realtime.queries.evaluation import evaluate
from realtime.queries.registry import live_query
from realtime.queries.result import Outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("further_queries")]


def evaluated(name: str, before: Outcome | None = None) -> Outcome:
    return evaluate(name, limit_s=10, before=before.read if before else None).outcome


def columns(outcome: Outcome) -> set[str]:
    found = outcome.footprint["orders_order"].columns
    assert found is not None
    return set(found)


def test_what_the_same_statements_read_is_not_found_out_again() -> None:
    ana = Customer.objects.create(name="Ana")
    name = f"query:open-orders?customer={ana.pk}"
    first = evaluated(name)
    Order.objects.create(customer=ana, total=1)
    second = evaluated(name, first)
    assert second.read is first.read
    assert (len(first.value), len(second.value)) == (0, 1)


def test_other_values_or_columns_are_found_out() -> None:
    asked: dict[str, Any] = {"total": 1}

    @live_query("asked")
    def of_what_is_asked() -> Any:
        return Order.objects.filter(**asked).values("id")

    first = evaluated("query:asked")
    asked["total"] = 2
    second = evaluated("query:asked", first)
    assert second.read is not first.read
    assert second.read == evaluated("query:asked").read
    asked.clear()
    asked["note"] = "2"
    third = evaluated("query:asked", second)
    assert "total" in columns(second)
    assert columns(third) == {"id", "note"}


def test_what_rows_lead_to_counts_as_well() -> None:
    """The orders of tags that are read first; while there is no tag, no order is asked for."""

    @live_query("tagged", reads=[Tag])
    def tagged() -> Any:
        return Order.objects.filter(pk__in=list(Tag.objects.values_list("pk", flat=True))).values("id")

    first = evaluated("query:tagged")
    Tag.objects.create(name="a")
    second = evaluated("query:tagged", first)
    assert second.read == evaluated("query:tagged").read
    assert "orders_order" in second.footprint


def test_where_nothing_was_sent_it_is_found_out_each_time() -> None:
    models: list[Any] = [Order, Customer]

    @live_query("nothing")
    def nothing() -> Any:
        return models[0].objects.filter(pk__in=[]).values("id")

    first = evaluated("query:nothing")
    models.reverse()
    second = evaluated("query:nothing", first)
    assert first.read.statements == ()
    assert second.read == evaluated("query:nothing").read
    assert second.read != Read((), first.footprint)
