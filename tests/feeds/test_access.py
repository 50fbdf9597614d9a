"""Who may come in: owner, member, stranger; tokens and sessions, and how each of them ends."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from realtime.errors import BadInput, Conflict, NotSignedIn
from realtime.feeds.access import (
    ANONYMOUS,
    Principal,
    create_token,
    principal_for_session,
    principal_for_token,
    principal_of_scope,
    recheck,
)
from realtime.feeds.database import Database
from realtime.feeds.models import ApiToken

pytestmark = pytest.mark.django_db


@pytest.fixture
def member() -> User:
    return User.objects.create_user("mia", password="correct horse")


def session_of(user: User) -> str:
    client = Client()
    client.force_login(user)
    return str(client.session.session_key)


def test_a_token_opens_the_door_and_only_its_digest_is_kept() -> None:
    row, token = create_token("sensor", ["read"])
    assert token.startswith("hw_")
    assert len(token) == 46
    assert token not in str(ApiToken.objects.filter(pk=row.pk).values())
    assert token.startswith(row.hint)
    assert principal_for_token(token) == Principal("token", row.pk, "sensor", frozenset({"read"}))


@pytest.mark.parametrize(
    ("scopes", "reads", "publishes", "manages"),
    [
        (["read"], True, False, False),
        (["publish"], False, True, False),
        (["manage"], True, False, True),
        (["publish", "manage"], True, True, True),
    ],
)
def test_a_tokens_scopes_are_all_it_may_do(
    scopes: list[str], reads: bool, publishes: bool, manages: bool
) -> None:
    who = principal_for_token(create_token("t", scopes)[1])
    assert (who.may_read(public=False), who.may_publish, who.may_manage) == (reads, publishes, manages)
    assert who.may_read(public=True)


def test_every_bad_token_gives_the_same_answer(member: User) -> None:
    revoked, revoked_token = create_token("revoked", ["read"])
    ApiToken.objects.filter(pk=revoked.pk).update(revoked=True)
    expired, expired_token = create_token("expired", ["read"])
    ApiToken.objects.filter(pk=expired.pk).update(expires_at=timezone.now())
    _, orphaned_token = create_token("orphaned", ["read"], created_by=member)
    User.objects.filter(pk=member.pk).update(is_active=False)
    answers = set()
    unknown = "hw_" + "x" * 43
    for token in (revoked_token, expired_token, orphaned_token, unknown, "", "hw_", "\0", "\ud800" * 46):
        with pytest.raises(NotSignedIn) as refusal:
            principal_for_token(token)
        answers.add((refusal.value.message, refusal.value.field))
    assert len(answers) == 1


@pytest.mark.parametrize(
    ("name", "scopes", "expires_at", "field"),
    [
        ("", ["read"], None, "name"),
        ("x" * 101, ["read"], None, "name"),
        ("line\nbreak", ["read"], None, "name"),
        ("t", [], None, "scope"),
        ("t", ["read", "root"], None, "scope"),
        ("t", ["read"], datetime(2020, 1, 1, tzinfo=timezone.get_default_timezone()), "expires_at"),
        ("t", ["read"], datetime(2999, 1, 1), "expires_at"),  # noqa: DTZ001 - the point of the test
    ],
)
def test_a_bad_token_request_names_the_field(
    name: str, scopes: list[str], expires_at: datetime | None, field: str
) -> None:
    with pytest.raises(BadInput) as refusal:
        create_token(name, scopes, expires_at=expires_at)
    assert refusal.value.field == field
    assert not ApiToken.objects.exists()


def test_a_name_that_is_taken_is_a_conflict() -> None:
    create_token("sensor", ["read"])
    with pytest.raises(Conflict):
        create_token("sensor", ["read"])


def test_a_session_is_its_user_and_staff_may_do_more(member: User) -> None:
    who = principal_for_session(session_of(member))
    assert (who.kind, who.id, who.name) == ("user", member.pk, "mia")
    assert (who.may_read(public=False), who.may_publish, who.may_manage) == (True, False, False)
    owner = User.objects.create_user("olga", password="x", is_staff=True)
    who = principal_for_session(session_of(owner))
    assert (who.may_read(public=False), who.may_publish, who.may_manage) == (True, True, True)


def test_a_stranger_reads_what_is_public_only() -> None:
    assert principal_for_session("no-such-session-key") is ANONYMOUS
    assert principal_for_session("") is ANONYMOUS
    assert ANONYMOUS.may_read(public=True)
    assert not ANONYMOUS.may_read(public=False)
    assert not ANONYMOUS.may_publish
    assert not ANONYMOUS.may_manage


def test_a_new_password_ends_the_session(member: User) -> None:
    who = principal_for_session(session_of(member))
    member.set_password("battery staple")
    member.save()
    assert recheck(who) is ANONYMOUS


def test_a_session_outlives_a_rotated_secret_key(member: User, settings: Any) -> None:
    key = session_of(member)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another secret key for this test only"
    assert principal_for_session(key).id == member.pk


@pytest.mark.parametrize("how", ["deactivated", "deleted", "logged out", "expired"])
def test_a_user_who_is_gone_is_noticed_by_the_next_check(member: User, how: str) -> None:
    client = Client()
    client.force_login(member)
    who = principal_for_session(str(client.session.session_key))
    assert recheck(who) == who
    if how == "deactivated":
        User.objects.filter(pk=member.pk).update(is_active=False)
    elif how == "deleted":
        member.delete()
    elif how == "logged out":
        client.logout()
    else:
        session = client.session
        session.set_expiry(timezone.now() - timedelta(seconds=1))
        session.save()
    assert recheck(who) is ANONYMOUS


def test_a_revoked_token_is_noticed_by_the_next_check() -> None:
    row, token = create_token("sensor", ["read", "publish"])
    who = principal_for_token(token)
    ApiToken.objects.filter(pk=row.pk).update(scopes=["publish"])
    assert recheck(who).scopes == {"publish"}
    ApiToken.objects.filter(pk=row.pk).update(revoked=True)
    with pytest.raises(NotSignedIn):
        recheck(who)
    assert recheck(ANONYMOUS) is ANONYMOUS


def test_a_principal_does_not_print_its_session(member: User) -> None:
    key = session_of(member)
    assert key not in repr(principal_for_session(key))


@pytest.mark.django_db(transaction=True)
async def test_a_scope_is_read_header_first_then_query_then_cookie() -> None:
    database = Database(threads=1)
    try:
        member = await database.write(lambda: User.objects.create_user("mia", password="x"))
        key = await database.write(session_of, member)
        _, first = await database.write(create_token, "first", ["read"])
        _, second = await database.write(create_token, "second", ["read"])

        async def name(headers: list[tuple[bytes, bytes]], query: str = "") -> str:
            scope = {"type": "websocket", "headers": headers, "query_string": query.encode()}
            return (await principal_of_scope(scope, database)).name

        bearer = (b"authorization", b"Bearer " + first.encode())
        cookie = (b"cookie", b"theme=dark; sessionid=" + key.encode())
        assert await name([bearer, cookie], f"token={second}") == "first"
        assert await name([cookie], f"since=a:1&token={second}") == "second"
        assert await name([cookie]) == "mia"
        assert await name([(b"authorization", b"Basic bWlhOng="), cookie]) == "mia"
        assert await name([]) == ""
        for headers, query in (([(b"authorization", b"Bearer nonsense"), cookie], ""), ([cookie], "token=")):
            with pytest.raises(NotSignedIn):
                await name(headers, query)
    finally:
        await database.aclose()
