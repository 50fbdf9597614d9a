"""The example app: installed by one setting, with its tables, queries and pages."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from docs.examples.orders.models import Customer
from realtime.queries.registry import queries


def test_its_queries_are_declared_by_its_being_installed() -> None:
    names = {"my-orders", "open-orders", "order-count", "order-totals", "orders-by-tag", "recent-orders"}
    assert names <= {query.name for query in queries()}


@pytest.mark.django_db
def test_migrations_make_every_table_as_the_models_have_it() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db
def test_its_pages_show_a_customer_to_its_user_and_to_staff(client: Client) -> None:
    owner, staff, stranger = (User.objects.create_user(name) for name in ("ana", "sam", "eve"))
    User.objects.filter(pk=staff.pk).update(is_staff=True)
    customer = Customer.objects.create(name="Bakery", user=owner)
    page = f"/orders/{customer.pk}/"
    nobodys = Customer.objects.create(name="Florist")

    assert client.get(page).status_code == 302  # to log in
    for user, seen in ((owner, True), (staff, True), (stranger, False)):
        client.force_login(user)
        assert (client.get(page).status_code == 200) is seen
        assert ("Bakery" in client.get("/orders/").content.decode()) is seen
    client.force_login(owner)
    assert client.get(f"/orders/{nobodys.pk}/").status_code == 404
