"""What an evaluation comes to: JSON with a key per row, and what was read."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Prefetch, Sum

from docs.examples.orders.models import Customer, Order, Tag
from realtime.conf import conf
from realtime.errors import BadInput, QueryTooSlow, TooLarge
from realtime.feeds.models import Demand, Feed
from realtime.queries import footprint, result
from realtime.queries.changes import Reads
from realtime.queries.names import read_name
from realtime.queries.registry import live_query
from realtime.queries.result import Outcome, outcome_of, whole_tables

pytestmark = pytest.mark.django_db


@pytest.fixture
def bakery() -> Customer:
    """With two open orders, a closed one, and two tags."""
    bakery = Customer.objects.create(name="Bakery", user=User.objects.create_user("ana"))
    quick, large = Tag.objects.create(name="quick"), Tag.objects.create(name="large")
    for total, is_open, tags in (("1.50", True, [quick, large]), ("20", True, [large]), ("3", False, [])):
        Order.objects.create(customer=bakery, total=total, open=is_open).tags.set(tags)
    return bakery


def evaluated(name: str, user: User | AnonymousUser | None = None) -> Outcome:
    outcome = outcome_of(read_name(name), user)
    assert not isinstance(outcome.value, tuple)
    return outcome


def test_values_are_rows_by_primary_key(bakery: Customer) -> None:
    outcome = evaluated(f"query:open-orders?customer={bakery.pk}")
    first, second = Order.objects.filter(open=True).order_by("id")
    assert outcome.key == ("id",)
    assert outcome.value == [
        {"id": first.pk, "total": Decimal("1.50"), "note": "", "customer__name": "Bakery"},
        {"id": second.pk, "total": Decimal("20"), "note": "", "customer__name": "Bakery"},
    ]
    assert json.loads(outcome.text)[0] == outcome.value[0] | {"total": "1.50"}
    assert set(outcome.footprint) == {"orders_order", "orders_customer"}
    assert evaluated("query:orders-by-tag?tag=quick").value[0]["id"] == first.pk


def test_a_user_s_query_is_called_with_the_user(bakery: Customer) -> None:
    assert len(evaluated("query:my-orders", bakery.user).value) == 3
    assert evaluated("query:my-orders", User.objects.create_user("eve")).value == []


def test_a_coroutine_reads_by_this_thread_s_connection_and_tells_what_it_declares(bakery: Customer) -> None:
    """Which sees what the test has not committed."""
    outcome = evaluated("query:order-count")
    assert (outcome.text, outcome.value, outcome.key) == ("2", 2, ())
    assert outcome.footprint == {"orders_order": Reads(), "orders_order_tags": Reads()}
    assert evaluated("query:order-count?open=false").text == "1"


def test_grouped_rows_are_known_by_the_key_that_was_declared(bakery: Customer) -> None:
    outcome = evaluated("query:order-totals")
    assert outcome.key == ("customer_id",)
    (row,) = json.loads(outcome.text)
    assert Decimal(row.pop("sum")) == Decimal("24.50")  # text, without a last 0 on SQLite
    assert row == {"customer_id": bakery.pk, "customer__name": "Bakery", "orders": 3}


def test_instances_are_dicts_with_what_was_loaded_beside_them(
    bakery: Customer, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(2):
        outcome = evaluated("query:recent-orders")
    newest, _, oldest = json.loads(outcome.text)
    assert outcome.key == ("id",)
    assert newest["created_at"].endswith("Z")
    assert list(newest) == [*("id", "customer_id", "total", "open", "note", "created_at", "customer", "tags")]
    assert newest["customer"] == {"id": bakery.pk, "name": "Bakery", "user_id": bakery.user_id}
    assert [tag["name"] for tag in oldest["tags"]] == ["quick", "large"]
    assert newest["tags"] == []


def test_instances_show_annotations_and_prefetched_lists_and_no_deferred_field(
    bakery: Customer, own_queries: None, django_assert_num_queries: Any
) -> None:
    large = Order.objects.filter(total__gt=10).select_related("customer__user")
    large = large.defer("customer__user__password").annotate(twice=Sum("total"))

    @live_query("customers")
    def customers() -> Any:
        loaded = Customer.objects.defer("user").annotate(sum=Sum("orders__total")).order_by("pk")
        return loaded.prefetch_related(Prefetch("orders", large, to_attr="large"), "large__tags")

    Customer.objects.create(name="Florist")
    with django_assert_num_queries(3):
        bakery_row, florist = evaluated("query:customers").value
    assert list(florist) == ["id", "name", "sum", "large"]
    assert (bakery_row["sum"], florist["large"]) == (Decimal("24.50"), [])
    (order,) = bakery_row["large"]
    assert order["twice"] == Decimal("20")
    assert order["customer"]["user"]["username"] == "ana"
    assert [tag["name"] for tag in order["tags"]] == ["large"]


@pytest.mark.parametrize("through", ["the rows themselves", "select_related"])
def test_a_user_s_whole_row_is_refused_for_the_password_in_it(
    through: str, bakery: Customer, own_queries: None
) -> None:
    @live_query("users")
    def users() -> Any:
        selected = Customer.objects.select_related("user")
        return selected if through == "select_related" else User.objects.all()

    with pytest.raises(BadInput, match=r"result: whole rows of auth\.User hold the hash") as refused:
        evaluated("query:users")
    assert refused.value.field == "result"

    @live_query("users-without")
    def without() -> Any:
        selected = Customer.objects.select_related("user").defer("user__password")
        return selected if through == "select_related" else User.objects.defer("password")

    assert "password" not in evaluated("query:users-without").text


# Newer Djangos advise against it, and it still works there.
@pytest.mark.filterwarnings("ignore:Calling select_related.. with no arguments is deprecated")
def test_all_that_must_be_there_is_selected_without_naming_it(own_queries: None) -> None:
    @live_query("demands")
    def demands() -> Any:
        return Demand.objects.select_related()

    @live_query("feeds", reads=[Demand])
    def feeds() -> Any:
        return Feed.objects.select_related("demand").order_by("slug")

    feed = Feed.objects.create(slug="a")
    Feed.objects.create(slug="b")
    Demand.objects.create(feed=feed, base="x", wanted_until=feed.created_at)
    outcome = evaluated("query:demands")
    assert outcome.key == ("feed_id",)
    assert outcome.value[0]["feed"]["slug"] == "a"
    with_one, without = evaluated("query:feeds").value
    assert (with_one["demand"]["base"], without["demand"]) == ("x", None)


@pytest.mark.parametrize(
    ("value", "text", "key"),
    [
        (None, "null", ()),
        (Decimal("1.50"), '"1.50"', ()),
        ([], "[]", ()),
        ([1, "a"], '[1,"a"]', ()),
        ({"id": 1}, '{"id":1}', ()),
        ([{"id": 1}, {"id": 2, "x": None}], '[{"id":1},{"id":2,"x":null}]', ("id",)),
        ([{"pk": 1}, {"pk": 2}], '[{"pk":1},{"pk":2}]', ("pk",)),
        ([{"id": 1}, {}], '[{"id":1},{}]', ()),
        ([{"id": 1}, 5], '[{"id":1},5]', ()),
    ],
)
def test_any_json_value_is_a_result(value: Any, text: str, key: tuple[str, ...], own_queries: None) -> None:
    live_query("value", reads=[Order])(lambda: value)
    outcome = evaluated("query:value")
    assert (outcome.text, outcome.key, outcome.value) == (text, key, value)


def test_instances_come_back_from_a_coroutine_and_from_sql(bakery: Customer, own_queries: None) -> None:
    @live_query("orders", reads=[Order])
    async def orders() -> Any:
        return [order async for order in Order.objects.order_by("id")]

    @live_query("raw", reads=[Order])
    def raw() -> Any:
        return Order.objects.raw("SELECT id, total, 1 AS one FROM orders_order ORDER BY id")

    @live_query("first", reads=[Order])
    def first() -> Any:
        return Order.objects.order_by("id").first()

    outcome = evaluated("query:orders")
    assert outcome.key == evaluated("query:raw").key == ("id",)
    assert outcome.value[0] == evaluated("query:first").value
    assert list(evaluated("query:raw").value[0]) == ["id", "total", "one"]


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ((), [{"id": 1}, {"id": 1}], "several rows of value have the same id. Declare `key`"),
        (("shop", "no"), [{"shop": 1, "no": 1}, {"shop": 1, "no": 1}], "the same shop, no"),
        ("no", [{"no": 1}, {"id": 1}], "has rows without no"),
        ("no", [{"no": [1]}], "no is not one value"),
        ("no", {"no": 1}, "no rows with names"),
    ],
)
def test_rows_that_nothing_tells_apart_are_an_error_that_says_what_to_declare(
    key: Any, value: Any, says: str, own_queries: None
) -> None:
    live_query("value", reads=[Order], key=key)(lambda: value)
    with pytest.raises(BadInput, match=says) as caught:
        evaluated("query:value")
    assert caught.value.field == "key"


@pytest.mark.parametrize("value", [float("nan"), b"bytes", {"orders": Order.objects.none()}])
def test_a_result_that_is_no_json_is_refused(value: Any, own_queries: None) -> None:
    live_query("value", reads=[Order])(lambda: value)
    with pytest.raises(BadInput, match="result: not a JSON value"):
        evaluated("query:value")


def test_a_result_that_is_too_large_is_refused(own_queries: None) -> None:
    live_query("value", reads=[Order])(lambda: "x" * conf().value_limit_bytes)
    with pytest.raises(TooLarge, match="result"):
        evaluated("query:value")


def test_what_cannot_be_derived_must_be_declared(own_queries: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(queryset: Any) -> Any:
        raise footprint.NotDerivable("it uses raw SQL")

    monkeypatch.setattr(result, "footprint_of", refuse)
    live_query("orders")(lambda: Order.objects.all())
    with pytest.raises(BadInput, match=r"it uses raw SQL\. Declare the models") as caught:
        evaluated("query:orders")
    assert caught.value.field == "reads"

    live_query("tags", reads=[Tag])(lambda: Order.objects.all())
    assert evaluated("query:tags").footprint == {"orders_tag": Reads(), "orders_order_tags": Reads()}

    async def count() -> int:
        return 0

    live_query("count")(count)
    with pytest.raises(BadInput, match="no queryset is returned"):
        evaluated("query:count")


def test_what_is_declared_comes_besides_what_is_derived(own_queries: None) -> None:
    live_query("orders", reads=[User])(lambda: Order.objects.filter(open=True))
    derived = footprint.footprint_of(Order.objects.filter(open=True))
    tables = evaluated("query:orders").footprint
    assert tables["orders_order"] == derived["orders_order"]
    assert tables["auth_user"] == Reads()
    query = read_name("query:orders").query
    assert set(whole_tables(query)) == {"auth_user", "auth_user_groups", "auth_user_user_permissions"}


def test_a_coroutine_that_waits_for_something_else_is_cancelled_in_time(
    own_queries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result, "conf", lambda: conf().model_copy(update={"query_limit_s": 0.05}))
    cancelled = []

    @live_query("waits", reads=[Order])
    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    @live_query("gives-up", reads=[Order])
    async def gives_up() -> None:
        raise TimeoutError

    with pytest.raises(QueryTooSlow):
        evaluated("query:waits")
    assert cancelled
    with pytest.raises(TimeoutError):
        evaluated("query:gives-up")
