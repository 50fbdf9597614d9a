"""What happens to Django's users, and which of their connections end or come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.test import Client

from realtime.delivery.centrifuge import accounts

pytestmark = pytest.mark.django_db(transaction=True)

ENDS, COMES_BACK = 3503, 3011


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    given: list[tuple[str, int]] = []

    def note(order: dict[str, Any]) -> None:
        assert (order["do"], order["client"]) == ("disconnect", "")
        given.append((order["user"], order["code"]))

    monkeypatch.setattr(accounts, "order_now", note)
    return given


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana", password="first")


def changed(user: User, **columns: Any) -> None:
    for name, value in columns.items():
        setattr(user, name, value)
    user.save()


def new_password(user: User) -> None:
    user.set_password("second")
    user.save(update_fields=["password"])


@pytest.fixture
def team() -> Group:
    return Group.objects.create(name="team")


ENDING: list[Callable[[User], object]] = [
    lambda user: changed(user, is_active=False),
    lambda user: changed(user, is_active=False, is_staff=True),
    new_password,
    lambda user: user.delete(),
]
RENEWING: list[Callable[[User], object]] = [
    lambda user: changed(user, is_staff=True),
    lambda user: changed(user, is_superuser=True),
    lambda user: user.groups.add(Group.objects.create(name="g")),
    lambda user: Group.objects.create(name="g").user_set.add(user),
    lambda user: user.user_permissions.set([permission()]),
    lambda user: permission().user_set.add(user),
]
NOTHING: list[Callable[[User], object]] = [
    lambda user: changed(user, first_name="Ana"),
    lambda user: user.save(),
    lambda user: Client().force_login(user),
    lambda user: User.objects.create_user("bob"),
]


def permission() -> Permission:
    from django.contrib.contenttypes.models import ContentType

    kind = ContentType.objects.get_for_model(User)
    return Permission.objects.get_or_create(codename="can", content_type=kind, defaults={"name": "can"})[0]


@pytest.mark.parametrize("happens", ENDING)
def test_these_end_a_users_connections(
    happens: Callable[[User], object], ana: User, orders: list[tuple[str, int]]
) -> None:
    name = str(ana.pk)
    happens(ana)
    assert orders == [(name, ENDS)]


@pytest.mark.parametrize("happens", RENEWING)
def test_these_make_a_users_connections_come_back(
    happens: Callable[[User], object], ana: User, orders: list[tuple[str, int]]
) -> None:
    happens(ana)
    assert orders == [(str(ana.pk), COMES_BACK)]


@pytest.mark.parametrize("happens", NOTHING)
def test_these_leave_connections_alone(
    happens: Callable[[User], object], ana: User, orders: list[tuple[str, int]]
) -> None:
    happens(ana)
    assert orders == []


def test_a_groups_permissions_are_its_members(ana: User, team: Group, orders: list[tuple[str, int]]) -> None:
    bob = User.objects.create_user("bob")
    team.user_set.add(ana, bob)
    both = {(str(ana.pk), COMES_BACK), (str(bob.pk), COMES_BACK)}
    for happens in (
        lambda: team.permissions.add(permission()),
        lambda: permission().group_set.clear(),
        lambda: permission().group_set.add(team),
        lambda: team.permissions.clear(),
        lambda: team.user_set.clear(),
    ):
        orders.clear()
        happens()
        assert set(orders) == both
    team.user_set.add(ana)
    orders.clear()
    team.delete()
    assert orders == [(str(ana.pk), COMES_BACK)]


def test_signing_out_ends_them_and_signing_out_as_nobody_does_nothing(
    ana: User, orders: list[tuple[str, int]]
) -> None:
    browser = Client()
    browser.post("/logout/")
    assert orders == []
    browser.force_login(ana)
    browser.post("/logout/")
    assert orders == [(str(ana.pk), ENDS)]


def test_what_is_rolled_back_has_not_happened_and_what_is_committed_is_told_then(
    ana: User, orders: list[tuple[str, int]]
) -> None:
    with transaction.atomic():
        changed(ana, is_active=False)
        transaction.set_rollback(True)
    ana.refresh_from_db()
    with transaction.atomic():
        changed(ana, is_active=False)
        assert orders == []
    assert orders == [(str(ana.pk), ENDS)]
