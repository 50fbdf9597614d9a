"""The tag on a page: painted first for whoever may see it, from the journal where an engine keeps it true."""

from __future__ import annotations

import json
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.http import HttpRequest
from django.template import TemplateSyntaxError
from django.template.loader import get_template
from django.test import RequestFactory
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from docs.examples.orders.models import Customer, Order
from realtime.errors import BadInput
from realtime.feeds.models import Demand, Feed
from realtime.feeds.runtime import write_now
from realtime.feeds.store import Health, Write
from realtime.queries.evaluation import evaluate
from realtime.queries.registry import live_query

from .conftest import SetTemplates

pytestmark = pytest.mark.django_db

PAGE = (
    '{% load live %}{% live "open-orders" customer=customer as orders %}'
    "{% for order in orders %}<b>{{ order.note }} {{ order.total }}</b>{% endfor %}{% endlive %}"
)


class Element(HTMLParser):
    """The attributes of the live element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not self.found:
            self.found = {name: value or "" for name, value in attrs}


@pytest.fixture
def owner() -> User:
    return User.objects.create_user("ana")


@pytest.fixture
def customer(owner: User, set_templates: SetTemplates) -> Customer:
    """With one open order; the page `orders.html` shows them."""
    set_templates({"orders.html": PAGE})
    customer = Customer.objects.create(name="Bakery", user=owner)
    Order.objects.create(customer=customer, total="9.50", note="<i>bread</i> & so")
    return customer


BREAD = "<b>&lt;i&gt;bread&lt;/i&gt; &amp; so 9.50</b>"


def asks(user: Any) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = user
    request.session = type("Session", (), {"session_key": "key"})()  # type: ignore[assignment]
    return request


def paint(user: Any, customer: Any, name: str = "orders.html") -> str:
    html: str = get_template(name).render({"customer": customer}, asks(user))
    return html


def keep(slug: str, html: str, *, state: Any = "fresh", error: str = "", **fields: Any) -> Feed:
    """As an engine does that keeps this feed true."""
    feed = Feed.objects.create(slug=slug, title=slug, kind="query")
    later = timezone.now() + timedelta(hours=1)
    Demand.objects.create(
        **{"feed": feed, "base": slug, "wanted_until": later, "claimed_until": later, "kept": True} | fields
    )
    write_now([Write(feed.pk, json.dumps(html)), Write(feed.pk, health=Health(state, None, None, error))])
    return Feed.objects.get(pk=feed.pk)


def test_what_nobody_watches_is_evaluated_for_the_page(owner: User, customer: Customer) -> None:
    html = paint(owner, customer.pk)
    element = Element(html).found
    assert BREAD in html
    assert element["data-live"].startswith(f"query:open-orders?customer={customer.pk}#orders.html:")
    assert (element["data-epoch"], element["data-state"]) == ("", "fresh")
    assert not Feed.objects.exists()


def test_what_is_watched_comes_from_the_journal_with_its_position(
    owner: User, customer: Customer, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    slug = Element(paint(owner, customer.pk)).found["data-live"]
    feed = keep(slug, "<b>from the journal</b>")
    with django_assert_num_queries(3):  # the asker, whether it is their customer, and the journal
        html = paint(owner, customer.pk)
    element = Element(html).found
    assert '<div class="live-block"><b>from the journal</b></div>' in html
    assert (element["data-epoch"], element["data-offset"]) == (feed.epoch, "1")


@pytest.mark.parametrize("fields", [{"kept": False}, {"claimed_until": None}])
def test_a_value_that_no_engine_keeps_true_is_not_shown(
    owner: User, customer: Customer, fields: dict[str, Any]
) -> None:
    keep(Element(paint(owner, customer.pk)).found["data-live"], "<b>old</b>", **fields)
    assert BREAD in paint(owner, customer.pk)


def test_the_block_is_painted_alike_first_and_later(owner: User, customer: Customer) -> None:
    html = paint(owner, customer.pk)
    slug, _, block = Element(html).found["data-live"].partition("#")
    later = evaluate(slug, [block], limit_s=5).painted[block]
    assert isinstance(later, str)
    assert f'<div class="live-block">{json.loads(later)}</div>' in html


def test_others_are_shown_nothing(customer: Customer) -> None:
    for user in (AnonymousUser(), User.objects.create_user("eve")):
        html = paint(user, customer.pk)
        assert "You may not see this." in html
        assert "bread" not in html
        assert "data-live" not in html


def test_each_user_has_a_block_of_their_own(
    owner: User, customer: Customer, set_templates: SetTemplates
) -> None:
    page = '{% load live %}{% live "my-orders" as orders %}{{ orders|length }}{% endlive %}'
    set_templates({"mine.html": page})
    other = User.objects.create_user("eve")
    for user, count in ((owner, 1), (other, 0)):
        html = paint(user, None, "mine.html")
        assert Element(html).found["data-live"].startswith(f"query:my-orders?user={user.pk}#mine.html:")
        assert f'<div class="live-block">{count}</div>' in html
    assert "You may not see this." in paint(AnonymousUser(), None, "mine.html")


def test_an_async_query_is_painted_too(owner: User, customer: Customer, set_templates: SetTemplates) -> None:
    page = '{% load live %}{% live "order-count" as count %}{{ count }} {{ open }}{% endlive %}'
    set_templates({"count.html": page})
    assert '<div class="live-block">1 True</div>' in paint(owner, None, "count.html")


def test_what_keeps_it_from_being_the_newest_is_said(owner: User, customer: Customer) -> None:
    slug = Element(paint(owner, customer.pk)).found["data-live"]
    keep(slug, "<b>old</b>", state="failing", error="It <fails>.")
    html = paint(owner, customer.pk)
    assert "<b>old</b>" in html
    assert '<p class="live-problem" role="status">It &lt;fails&gt;.</p>' in html
    assert Element(html).found["data-state"] == "failing"


@pytest.mark.usefixtures("own_queries")
def test_a_query_that_fails_leaves_the_page_whole(owner: User, set_templates: SetTemplates) -> None:
    @live_query("broken", reads=[Order])
    def broken() -> None:
        raise ValueError("a secret of the server")

    set_templates({"a.html": 'A{% load live %}{% live "broken" as rows %}{{ rows }}{% endlive %}B'})
    html = paint(owner, None, "a.html")
    assert (html[0], html[-1]) == ("A", "B")
    assert "The query failed (ValueError)." in html
    assert "secret" not in html
    assert Element(html[1:]).found["data-live"].startswith("query:broken#a.html:")


def test_a_block_that_fails_leaves_the_page_whole(owner: User, set_templates: SetTemplates) -> None:
    page = '{% load live %}{% live "my-orders" as orders %}{% url "no-such-page" %}{% endlive %}B'
    set_templates({"a.html": page})
    html = paint(owner, None, "a.html")
    assert html.endswith("B")
    assert "NoReverseMatch" in html


def test_wrong_parameters_are_the_pages_business(owner: User, customer: Customer) -> None:
    with pytest.raises(BadInput, match=r"params\.customer"):
        paint(owner, "none")
    with pytest.raises(BadInput, match=r"params\.customer"):
        paint(owner, None)


def test_what_a_developer_forgot_is_said(
    owner: User, customer: Customer, set_templates: SetTemplates
) -> None:
    set_templates({"orders.html": PAGE, "typo.html": PAGE.replace("open-orders", "opne-orders")})
    with pytest.raises(TemplateSyntaxError, match="no installed app declares a query 'opne-orders'"):
        paint(owner, customer.pk, "typo.html")
    with pytest.raises(TemplateSyntaxError, match="render the page with its request"):
        get_template("orders.html").render({"customer": customer.pk})


def test_autoescape_around_it_changes_nothing(
    owner: User, customer: Customer, set_templates: SetTemplates
) -> None:
    set_templates({"off.html": "{% autoescape off %}" + PAGE + "{% endautoescape %}"})
    assert BREAD in paint(owner, customer.pk, "off.html")


def test_it_reads_in_the_transaction_that_is_under_way(owner: User, customer: Customer) -> None:
    assert connection.in_atomic_block
    Order.objects.create(customer=customer, total="1.00", note="new")
    assert "new 1.00" in paint(owner, customer.pk)
