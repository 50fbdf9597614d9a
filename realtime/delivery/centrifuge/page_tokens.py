"""Tokens of Headwater's own pages: ten minutes in which the page's socket has its user's rights.

Signed with a key that is derived from SECRET_KEY for this purpose alone, so that they are of no use elsewhere
and nothing else is of use here. They name the user, and a fingerprint that ends them with a
changed password: see `feeds.access.principal_for_user`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import jwt
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.utils.crypto import salted_hmac

from realtime.errors import BadInput, ExpiredToken, InvalidToken
from realtime.feeds.access import ANONYMOUS, Principal, fingerprint_of, principal_for_user
from realtime.feeds.publication import decode_data

from .keys import Key, Token

PAGE_KID = "headwater-page"
LIFETIME_S = 600
_PURPOSE = "realtime.delivery.centrifuge.page_tokens"


@dataclass(frozen=True, slots=True)
class PageToken:
    """A page's token that is good. `user_id` is the primary key as text, "" for nobody in particular."""

    user_id: str
    fingerprint: str = field(repr=False)
    expires_at: float


def mint_page_token(user: AbstractBaseUser | AnonymousUser | None) -> str:
    """A token for a page that this user sees, signed in; or that anybody sees (None, AnonymousUser)."""
    now = int(time.time())
    claims: dict[str, str | int] = {"iat": now, "exp": now + LIFETIME_S}
    if isinstance(user, AbstractBaseUser):
        claims |= {"sub": str(user.pk), "fingerprint": fingerprint_of(user)}
    key = _key(settings.SECRET_KEY)
    return jwt.encode(claims, key.material, algorithm="HS256", headers={"kid": PAGE_KID})


def read_page_token(token: Token, *, now: float) -> PageToken:
    """The page's token in this. Raises InvalidToken if it was not made here, ExpiredToken after its time.

    Tokens outlive a rotated secret key that is still among SECRET_KEY_FALLBACKS.
    """
    if not token.is_signed_by(
        _key(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    ):
        raise InvalidToken("token: not one of this site's pages.", field="token")
    try:
        claims = decode_data(token.payload)
        found = PageToken(claims.get("sub", ""), claims.get("fingerprint", ""), claims["exp"])
    except (BadInput, AttributeError, KeyError):
        raise InvalidToken("token: not one of this site's pages.", field="token") from None
    if found.expires_at <= now:
        raise ExpiredToken("token: expired. Ask for a new one.", field="token")
    return found


def principal_of_page(token: PageToken) -> Principal:
    """Who that is now, with the rights of today. One unit of work for `Database.read`.

    Raises InvalidToken when the user is gone, inactive, or has another password.
    """
    if not token.user_id:
        return ANONYMOUS
    principal = principal_for_user(token.user_id, token.fingerprint)
    if principal.kind == "anonymous":
        raise InvalidToken("token: its user was signed out. Sign in again.", field="token")
    return principal


def _key(secret: str | bytes) -> Key:
    derived = salted_hmac(_PURPOSE, "key", secret=secret, algorithm="sha256").digest()
    return Key(frozenset({"HS256"}), derived, PAGE_KID)
