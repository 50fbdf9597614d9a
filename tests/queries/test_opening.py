"""Who may watch a query: nobody learns of one that is not theirs, and each has one name for theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from docs.examples.orders.models import Customer
from realtime.errors import BadInput, NotFound
from realtime.feeds.access import ANONYMOUS, Principal, principal_for_session
from realtime.feeds.demand import Opened, opener_of
from realtime.queries.opening import QueryOpener
from realtime.queries.registry import live_query

pytestmark = pytest.mark.django_db

TOKENS = {scope: Principal("token", 1, scope, frozenset([scope])) for scope in ("read", "publish", "manage")}


def member(name: str, **fields: Any) -> Principal:
    user = User.objects.create_user(name, **fields)
    scopes = {"read", "publish", "manage"} if user.is_staff else {"read"}
    return Principal("user", user.pk, name, frozenset(scopes))


def resolve(name: str, principal: Principal) -> Opened:
    return QueryOpener().resolve(name, principal)


def opened(name: str, principal: Principal) -> str | None:
    """The canonical name; None: not found."""
    try:
        return resolve(name, principal).slug
    except NotFound as error:
        assert (error.field, error.message) == ("slug", "There is no feed of that name.")  # noqa: PT017
        return None


def test_names_of_queries_have_this_opener() -> None:
    assert isinstance(opener_of("query:open-orders?customer=42"), QueryOpener)


def test_each_circle_watches_what_is_for_it(own_queries: None) -> None:
    for who in ("anybody", "members", "staff"):
        live_query(who, who=who)(lambda: 0)
    ana, sam = member("ana"), member("sam", is_staff=True)
    publishes = TOKENS["publish"]
    for name, may, may_not in (
        ("query:anybody", [ANONYMOUS, ana, sam, *TOKENS.values()], []),
        ("query:members", [ana, sam, TOKENS["read"], TOKENS["manage"]], [ANONYMOUS, publishes]),
        ("query:staff", [sam, TOKENS["read"], TOKENS["manage"]], [ANONYMOUS, ana, publishes]),
    ):
        assert [opened(name, each) for each in may] == [name] * len(may)
        assert [opened(name, each) for each in may_not] == [None] * len(may_not)
        assert resolve(name, sam).public is (name == "query:anybody")
    assert opened("query:other", sam) is None


def test_a_function_decides_by_user_and_parameters() -> None:
    owner, staff, stranger = member("ana"), member("sam", is_staff=True), member("eve")
    customer = Customer.objects.create(name="Bakery", user_id=owner.id)
    nobodys = Customer.objects.create(name="Florist")
    for principal, may in ((owner, True), (staff, True), (stranger, False), (ANONYMOUS, False)):
        name = f"query:open-orders?customer={customer.pk}"
        assert opened(name, principal) == (name if may else None)
        assert bool(opened(f"query:open-orders?customer={nobodys.pk}", principal)) is (principal is staff)
    assert opened(f"query:open-orders?customer={customer.pk}", TOKENS["read"])
    assert opened(f"query:open-orders?customer={customer.pk}", TOKENS["publish"]) is None


def test_a_function_is_given_the_user_as_they_are_now(own_queries: None) -> None:
    asked = []

    def who(user: User | AnonymousUser) -> bool:
        asked.append(user)
        return True

    live_query("mine", who=who)(lambda: 0)
    ana = member("ana")
    User.objects.filter(pk=ana.id).update(is_staff=True)
    assert opened("query:mine", ana)
    assert asked[-1].is_staff
    User.objects.filter(pk=ana.id).update(is_active=False)
    for principal in (ana, ANONYMOUS, TOKENS["publish"]):
        assert opened("query:mine", principal)
        assert asked.pop() == AnonymousUser()


def test_each_user_has_a_result_of_their_own() -> None:
    ana, eve, sam = member("ana"), member("eve"), member("sam", is_staff=True)
    own = f"query:my-orders?user={ana.id}"
    assert opened("query:my-orders", ana) == own
    assert opened(own, ana) == opened(f"query:my-orders?user=0{ana.id}", ana) == own
    for principal in (eve, sam, ANONYMOUS, TOKENS["publish"]):
        assert opened(own, principal) is None
    assert opened("query:my-orders", eve) == f"query:my-orders?user={eve.id}"
    assert not resolve("query:my-orders", ana).public


def test_a_token_that_reads_every_feed_says_whose_result_it_asks_for() -> None:
    ana, eve = member("ana"), member("eve", is_active=False)
    for scope in ("read", "manage"):
        name = f"query:my-orders?user={ana.id}"
        assert opened(f"query:my-orders?user=0{ana.id}", TOKENS[scope]) == name
        for nobody in (eve.id, 10**30, "ana", "-"):
            assert opened(f"query:my-orders?user={nobody}", TOKENS[scope]) is None
        with pytest.raises(BadInput, match="say whose result") as caught:
            resolve("query:my-orders", TOKENS[scope])
        assert caught.value.field == "params.user"


def test_a_user_s_result_is_nobody_s_although_a_function_lets_them(own_queries: None) -> None:
    live_query("mine", who=lambda user: True)(lambda user: 0)
    assert opened("query:mine", ANONYMOUS) is None


def test_wrong_parameters_are_told_to_those_who_may_know_of_the_query(own_queries: None, client: Any) -> None:
    def declare(name: str, who: Any) -> Callable[..., int]:
        def query(customer: int) -> int:
            return 0

        query.__qualname__ = name
        return live_query(name, params={"customer": int}, who=who)(query)

    declare("anybodys", "anybody")
    declare("members", "members")
    declare("asks", lambda user, customer: False)
    ana = member("ana")
    for name, principal in (
        ("anybodys", ANONYMOUS),
        ("members", ana),
        ("members", TOKENS["read"]),
        ("asks", ana),
    ):
        with pytest.raises(BadInput, match=r"params\.customer"):
            resolve(f"query:{name}?customer=x", principal)
    for name in ("members", "asks"):
        assert opened(f"query:{name}?customer=x", ANONYMOUS) is None


def test_a_feed_is_opened_under_its_canonical_name_with_a_title_for_people() -> None:
    staff = member("sam", is_staff=True)
    what = resolve("query:orders-by-tag?tag=very+quick%26large", staff)
    assert what.slug == what.base == "query:orders-by-tag?tag=very%20quick%26large"
    assert what.title == "Orders by tag (tag=very quick&large)"
    assert resolve("query:order-totals", staff).title == "Order totals"


def test_who_is_signed_in_by_a_session_is_the_user_who_asks(client: Any) -> None:
    user = User.objects.create_user("ana")
    client.force_login(user)
    principal = principal_for_session(client.cookies["sessionid"].value)
    assert opened("query:my-orders", principal) == f"query:my-orders?user={user.pk}"


def test_what_needs_no_function_asks_the_database_nothing(django_assert_num_queries: Any) -> None:
    """A thousand clients that come in together are asked about one by one."""
    ana = member("ana")
    with django_assert_num_queries(0):
        assert opened("query:my-orders", ana)
        assert opened("query:recent-orders", ana)
