"""Every table that a queryset reads is in its footprint; what cannot be told is refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Count, Exists, FilteredRelation, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.expressions import RawSQL

from docs.examples.orders.live import my_orders, open_orders, order_totals, orders_by_tag, recent_orders
from docs.examples.orders.models import Customer, Order, Tag
from realtime.queries.footprint import NotDerivable, footprint_of

ORDER, CUSTOMER, TAG, TAGGED = "orders_order", "orders_customer", "orders_tag", "orders_order_tags"
NEWEST = Order.objects.filter(customer=OuterRef("pk")).order_by("-created_at")


@pytest.mark.parametrize(
    ("queryset", "tables"),
    [
        (Order.objects.all(), {ORDER}),
        (open_orders(42), {ORDER, CUSTOMER}),
        (orders_by_tag("new"), {ORDER, CUSTOMER, TAG, TAGGED}),
        (my_orders(User(pk=1)), {ORDER, CUSTOMER}),
        (order_totals(), {ORDER, CUSTOMER}),
        (Order.objects.filter(tags=7), {ORDER, TAGGED}),
        (Order.objects.exclude(tags__name="old"), {ORDER, TAGGED, TAG}),
        (Order.objects.order_by("customer__user__username"), {ORDER, CUSTOMER, "auth_user"}),
        (Order.objects.select_related("customer__user"), {ORDER, CUSTOMER, "auth_user"}),
        (Customer.objects.filter(id__in=Order.objects.values("customer")), {ORDER, CUSTOMER}),
        (Customer.objects.filter(Exists(NEWEST)), {ORDER, CUSTOMER}),
        (
            Customer.objects.annotate(last=Subquery(NEWEST.values("tags__name")[:1])),
            {ORDER, CUSTOMER, TAG, TAGGED},
        ),
        (Customer.objects.annotate(many=Count("orders__tags")).filter(many__gt=2), {ORDER, CUSTOMER, TAGGED}),
        (
            Customer.objects.annotate(
                unpaid=FilteredRelation("orders", condition=Q(orders__open=True))
            ).filter(unpaid__total__gt=5),
            {ORDER, CUSTOMER},
        ),
        (Tag.objects.values_list("name").union(Customer.objects.values_list("name")), {TAG, CUSTOMER}),
        (Order.objects.union(Order.objects.all()).values("customer__name"), {ORDER, CUSTOMER}),
        (Order.objects.distinct("customer__name").values("id"), {ORDER, CUSTOMER}),
        (Order.objects.none(), {ORDER}),
        (Order.objects.filter(customer__in=[]), {ORDER}),
        (Order.objects.filter(Q(pk__in=[]), tags__name="new"), {ORDER, TAGGED, TAG}),
    ],
)
def test_joins_subqueries_and_combined_queries_are_read(queryset: QuerySet[Any], tables: set[str]) -> None:
    assert set(footprint_of(queryset)) == tables


def test_no_database_is_touched() -> None:
    """Without the mark that allows it, a query would fail this test."""
    footprint_of(recent_orders())


@pytest.mark.parametrize(
    ("queryset", "tables"),
    [
        (recent_orders(), {ORDER, CUSTOMER, TAG, TAGGED}),
        (Tag.objects.prefetch_related("orders__customer"), {ORDER, CUSTOMER, TAG, TAGGED}),
        (Customer.objects.prefetch_related("orders"), {ORDER, CUSTOMER}),
        (
            Customer.objects.prefetch_related("user__groups"),
            {CUSTOMER, "auth_user", "auth_group", "auth_user_groups"},
        ),
        (
            Customer.objects.prefetch_related(
                Prefetch("orders", Order.objects.filter(tags__name="new"), to_attr="new_orders"),
                "new_orders__customer__user",
            ),
            {ORDER, CUSTOMER, TAG, TAGGED, "auth_user"},
        ),
    ],
)
def test_prefetches_are_read(queryset: QuerySet[Any], tables: set[str]) -> None:
    assert set(footprint_of(queryset)) == tables


def test_prefetched_tables_are_read_whole() -> None:
    reads = footprint_of(
        Customer.objects.only("id").prefetch_related(Prefetch("orders", Order.objects.only("id")))
    )
    assert reads[ORDER].columns is None
    assert reads[CUSTOMER].columns is None


@pytest.mark.parametrize(
    ("queryset", "why"),
    [
        (Order.objects.raw("SELECT * FROM orders_order"), "RawQuerySet is not a queryset"),
        (Order.objects.extra(where=["total > 5"]), "written by hand"),
        (Order.objects.extra(tables=["orders_tag"]), "extra"),
        (Order.objects.extra(select={"one": "1"}), "extra"),
        (Order.objects.annotate(one=RawSQL("SELECT 1", ())), "RawSQL is SQL written by hand"),
        (Order.objects.filter(pk__in=RawSQL("SELECT 1", ())), "RawSQL is SQL written by hand"),
        (Order.objects.order_by(RawSQL("1", ()).desc()), "RawSQL is SQL written by hand"),
        (Order.objects.none().union(Order.objects.extra(where=["total > 5"])), "written by hand"),
        (Order.objects.using("elsewhere"), "no changes are heard of the database 'elsewhere'"),
        (NEWEST, "refers to a query around this one"),
        ([], "list is not a queryset"),
        (Order.objects.prefetch_related("pk"), "Order.pk is no relation"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_reason(queryset: QuerySet[Any], why: str) -> None:
    with pytest.raises(NotDerivable, match=why):
        footprint_of(queryset)


def test_deriving_leaves_the_queryset_as_it_was() -> None:
    queryset = Order.objects.order_by("customer__name").select_related("customer")
    before = str(queryset.query), dict(queryset.query.alias_refcount)
    footprint_of(queryset)
    assert (str(queryset.query), dict(queryset.query.alias_refcount)) == before


def test_group_and_permission_are_named_by_their_own_tables() -> None:
    """Relations of Django's own models, through tables that it made itself."""
    reads = footprint_of(Group.objects.filter(permissions__in=Permission.objects.filter(codename="x")))
    assert {"auth_group", "auth_group_permissions", "auth_permission"} <= set(reads)
