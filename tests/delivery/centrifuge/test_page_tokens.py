"""Tokens of Headwater's own pages: the user's rights, for ten minutes, unless the user changes."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from django.contrib.auth.models import AnonymousUser, User

from realtime.delivery.centrifuge.keys import secret_key, take_apart
from realtime.delivery.centrifuge.page_tokens import (
    LIFETIME_S,
    PAGE_KID,
    PageToken,
    mint_page_token,
    principal_of_page,
    read_page_token,
)
from realtime.delivery.centrifuge.tokens import Tokens
from realtime.errors import ExpiredToken, InvalidToken
from realtime.feeds.access import ANONYMOUS

from .signing import SECRET, forged, signed


def read(text: str, after_s: float = 0) -> PageToken:
    return read_page_token(take_apart(text), now=time.time() + after_s)


@pytest.mark.parametrize("nobody", [None, AnonymousUser()])
async def test_a_page_that_anybody_sees_has_the_rights_of_anybody(nobody: AnonymousUser | None) -> None:
    text = mint_page_token(nobody)
    token = await Tokens().connection(text)
    assert isinstance(token, PageToken)
    assert token.user_id == ""
    assert principal_of_page(token) is ANONYMOUS


@pytest.mark.django_db
@pytest.mark.parametrize("staff", [False, True])
def test_a_page_has_its_users_rights_of_today(staff: bool) -> None:
    user = User.objects.create_user("mia", password="correct horse")
    token = read(mint_page_token(user))
    User.objects.filter(pk=user.pk).update(is_staff=staff)
    who = principal_of_page(token)
    assert (who.kind, who.id, who.name) == ("user", user.pk, "mia")
    assert (who.may_read(public=False), who.may_publish, who.may_manage) == (True, staff, staff)


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["password", "deactivated", "deleted"])
def test_a_token_ends_with_its_user(how: str) -> None:
    user = User.objects.create_user("mia", password="correct horse")
    token = read(mint_page_token(user))
    if how == "password":
        user.set_password("correct horse")
        user.save()
    elif how == "deactivated":
        User.objects.filter(pk=user.pk).update(is_active=False)
    else:
        user.delete()
    with pytest.raises(InvalidToken):
        principal_of_page(token)


@pytest.mark.django_db
def test_a_token_lasts_ten_minutes() -> None:
    text = mint_page_token(User.objects.create_user("mia", password="correct horse"))
    assert read(text, LIFETIME_S - 60).expires_at == pytest.approx(time.time() + LIFETIME_S, abs=30)
    with pytest.raises(ExpiredToken):
        read(text, LIFETIME_S + 1)


@pytest.mark.django_db
def test_a_token_outlives_a_rotated_secret_key(settings: Any) -> None:
    user = User.objects.create_user("mia", password="correct horse")
    text = mint_page_token(user)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another secret key for this test only"
    assert principal_of_page(read(text)).id == user.pk
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(InvalidToken):
        read(text)


async def test_what_others_sign_is_never_a_page(settings: Any) -> None:
    others = Tokens((secret_key(SECRET),))
    claims = {"sub": "1", "fingerprint": "x", "exp": int(time.time()) + 60}
    for text in (
        signed("HS256", claims, kid=PAGE_KID),
        forged({"alg": "HS256", "kid": PAGE_KID}, claims, settings.SECRET_KEY.encode()),
        forged({"alg": "none", "kid": PAGE_KID}, claims),
    ):
        with pytest.raises(InvalidToken):
            await others.connection(text)
    assert not isinstance(await others.connection(signed("HS256", {"sub": "1"})), PageToken)


async def test_a_pages_token_is_of_no_use_elsewhere(settings: Any) -> None:
    text = mint_page_token(None)
    with pytest.raises(InvalidToken):
        await Tokens((secret_key(settings.SECRET_KEY),)).subscription(text)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(text, settings.SECRET_KEY, algorithms=["HS256"])


@pytest.mark.parametrize("user_id", ["no-number", "9" * 400])
@pytest.mark.django_db
def test_a_user_id_that_cannot_be_is_nobodys(user_id: str) -> None:
    with pytest.raises(InvalidToken):
        principal_of_page(PageToken(user_id, "x", 0))


@pytest.mark.django_db
def test_nothing_of_the_user_but_the_id_is_in_a_token() -> None:
    user = User.objects.create_user("mia", password="correct horse")
    token = take_apart(mint_page_token(user))
    assert user.get_session_auth_hash().encode() not in token.payload
    assert b"mia" not in token.payload
    assert read(mint_page_token(user)).fingerprint not in repr(read(mint_page_token(user)))
