"""Queries that stay true on every screen. Watch one as the feed `query:open-orders?customer=42`."""

from django.db.models import Count, Sum

from realtime.queries.registry import live_query

from .models import Customer, Order


def can_see_orders(user, customer):
    """Staff see every customer's orders; a user those of their own customers."""
    if not user.is_authenticated:
        return False
    return user.is_staff or Customer.objects.filter(pk=customer, user=user).exists()


@live_query("open-orders", params={"customer": int}, who=can_see_orders)
def open_orders(customer):
    orders = Order.objects.filter(customer_id=customer, open=True).order_by("id")
    return orders.values("id", "total", "note", "customer__name")


@live_query("orders-by-tag", params={"tag": str})
def orders_by_tag(tag):
    orders = Order.objects.filter(tags__name=tag).distinct().order_by("id")
    return orders.values("id", "total", "open", "customer__name")


@live_query("my-orders")
def my_orders(user):
    """Each user has a result of their own."""
    return Order.objects.filter(customer__user=user).order_by("id").values("id", "total", "open", "note")


@live_query("order-count", params={"open": bool}, reads=[Order])
async def order_count(open=True):  # noqa: A002 - named like the column
    """No queryset comes back, so what it reads is declared."""
    return await Order.objects.filter(open=open).acount()


@live_query("order-totals", key="customer_id", who="staff")
def order_totals():
    """The rows have no primary key, so what tells them apart is declared."""
    customers = Order.objects.order_by("customer_id").values("customer_id", "customer__name")
    return customers.annotate(orders=Count("id"), sum=Sum("total"))


@live_query("recent-orders")
def recent_orders():
    """Whole rows, with the customer and the tags of each."""
    orders = Order.objects.select_related("customer").prefetch_related("tags")
    return orders.order_by("-created_at", "-id")[:20]
