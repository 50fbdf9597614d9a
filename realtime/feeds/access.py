"""Who is asking, and what they may do: API tokens, sessions and nobody in particular.

Everything here but `principal_of_scope` is sync, one unit of work for `Database.read`. A token is compared
by its SHA-256 digest and never logged, and every way in which one can be wrong gives the same answer.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http.cookie import parse_cookie
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from realtime.errors import BadInput, Conflict, NotSignedIn

from .models import ApiToken

TOKEN_PREFIX = "hw_"  # noqa: S105 - what tokens look like, not one of them
TOKEN_LENGTH = len(TOKEN_PREFIX) + 43
NAME_LIMIT = 100

MEMBER_SCOPES = frozenset({"read"})
STAFF_SCOPES = frozenset({"read", "publish", "manage"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks. `id` is the user's or the token's.

    `session_key` lets `recheck` notice a log-out; without a session, `fingerprint` lets it notice that the
    password was changed.
    """

    kind: Literal["anonymous", "user", "token"]
    id: int | None
    name: str
    scopes: frozenset[str]
    session_key: str = field(default="", repr=False)
    fingerprint: str = field(default="", repr=False)

    def may_read(self, *, public: bool, channel: bool = False) -> bool:
        """A public feed: everybody. Any other: active users, and tokens with the scope read or manage.

        A channel that is not public is for SDK clients: besides them, staff and these tokens read it.
        """
        if public or self.may_manage:
            return True
        return "read" in self.scopes and (self.kind == "token" or not channel)

    @property
    def may_publish(self) -> bool:
        """Staff, and tokens with the scope publish; manage does not include it."""
        return "publish" in self.scopes

    @property
    def may_manage(self) -> bool:
        """Staff, and tokens with the scope manage."""
        return "manage" in self.scopes


ANONYMOUS = Principal("anonymous", None, "", frozenset())
# Whom the site itself lets read, as by a subscription token.
TRUSTED = Principal("token", None, "", frozenset({"read"}))


def create_token(
    name: str,
    scopes: Collection[str],
    *,
    created_by: AbstractBaseUser | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Make a token and return its row and the token itself, which is kept nowhere.

    The token is `hw_` and 43 URL-safe characters (256 random bits). Raises BadInput naming `name`, `scope`
    or `expires_at`, and Conflict when the name is taken.
    """
    name = name.strip()
    if not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise BadInput(f"name: give 1 to {NAME_LIMIT} printable characters.", field="name")
    if not scopes or not set(scopes) <= set(ApiToken.Scope.values):
        raise BadInput(f"scope: give one or more of {', '.join(ApiToken.Scope.values)}.", field="scope")
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= timezone.now()):
        raise BadInput("expires_at: give a time in the future, with its time zone.", field="expires_at")
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(
        name=name,
        digest=digest_of_token(token),
        hint=token[:8],
        scopes=[scope for scope in ApiToken.Scope.values if scope in scopes],
        expires_at=expires_at,
        created_by_id=None if created_by is None else created_by.pk,
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict(f"There is a token named {name!r} already.", field="name") from error
    return row, token


def digest_of_token(token: str) -> str:
    """What is kept of a token: its SHA-256 in hex. 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def principal_for_token(token: str) -> Principal:
    """Whose token this is. Raises NotSignedIn if it is unknown, revoked, expired or its owner inactive."""
    if len(token) != TOKEN_LENGTH or not token.startswith(TOKEN_PREFIX):
        raise _unknown_token()
    return _token_principal(digest=digest_of_token(token))


def principal_for_session(session_key: str) -> Principal:
    """The active user who is signed in with this session, else ANONYMOUS. See `user_of_session`."""
    user = user_of_session(session_key)
    return ANONYMOUS if user is None else principal_of_user(user, session_key=session_key)


def user_of_session(session_key: str) -> AbstractBaseUser | None:
    """The active user who is signed in with this session.

    Verified as `django.contrib.auth.get_user` does, with SECRET_KEY_FALLBACKS: a changed password ends the
    session. Never writes to it.
    """
    session = _load_session(session_key)
    try:
        user_id = get_user_model()._meta.pk.to_python(session[SESSION_KEY])
        backend_path, session_hash = session[BACKEND_SESSION_KEY], session[HASH_SESSION_KEY]
    except (KeyError, ValueError):
        return None
    if backend_path not in settings.AUTHENTICATION_BACKENDS or not session_hash:
        return None
    user: AbstractBaseUser | None = load_backend(backend_path).get_user(user_id)
    if user is None or not user.is_active:
        return None
    good = any(constant_time_compare(session_hash, each) for each in _session_hashes(user))
    return user if good else None


def fingerprint_of(user: AbstractBaseUser) -> str:
    """What changes with the user's password, of no use to anybody who sees it."""
    return _fingerprint(user.get_session_auth_hash())


def principal_for_user(user_id: str | int, fingerprint: str) -> Principal:
    """The active user of that key while the password is the fingerprint's, else ANONYMOUS."""
    manager = get_user_model()._default_manager
    try:
        user = manager.filter(pk=user_id).first()
    except (ValueError, ValidationError):
        return ANONYMOUS
    if user is None or not user.is_active:
        return ANONYMOUS
    if not any(constant_time_compare(fingerprint, _fingerprint(each)) for each in _session_hashes(user)):
        return ANONYMOUS
    return principal_of_user(user, fingerprint=fingerprint)


def principal_of_user(user: AbstractBaseUser, **proof: str) -> Principal:
    """This active user, with `session_key` or `fingerprint` where `recheck` is to notice anything."""
    scopes = STAFF_SCOPES if getattr(user, "is_staff", False) else MEMBER_SCOPES
    return Principal("user", user.pk, user.get_username(), scopes, **proof)


def _session_hashes(user: AbstractBaseUser) -> list[str]:
    """By this SECRET_KEY, and by those that are good for a while yet."""
    return [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]


def _fingerprint(session_hash: str) -> str:
    # Not keyed with SECRET_KEY: what it was made of is, and may outlive a rotated one.
    return hashlib.sha256(f"realtime.fingerprint:{session_hash}".encode()).hexdigest()[:32]


def recheck(principal: Principal) -> Principal:
    """Who this is now: the scopes may have changed, and a user who is signed out or inactive is ANONYMOUS.

    Raises NotSignedIn when it was a token that is not good any more.
    """
    if principal.kind == "token":
        return _token_principal(pk=principal.id)
    if principal.fingerprint:
        assert principal.id is not None
        return principal_for_user(principal.id, principal.fingerprint)
    if principal.kind == "user":
        return principal_for_session(principal.session_key)
    return ANONYMOUS


class Reads(Protocol):
    """Where a look-up is made: `Database`, or one that shares it with others who ask the same."""

    async def read(self, unit: Callable[[str], Principal], secret: str, /) -> Principal: ...


async def principal_of_scope(scope: Mapping[str, Any], reads: Reads) -> Principal:
    """Who is behind an ASGI scope: `Authorization: Bearer`, else `?token=`, else the session's cookie.

    Only for doors that take `?token=`, which are the WebSocket and SSE. A token that is given but no good
    raises NotSignedIn: it never falls back to the session. Raises Unavailable without a database.
    """
    token = _bearer(scope["headers"])
    if token is None:
        token = _query_token(scope.get("query_string", b""))
    if token is not None:
        return await reads.read(principal_for_token, token)
    session_key = _session_key(scope["headers"])
    if session_key:
        return await reads.read(principal_for_session, session_key)
    return ANONYMOUS


def _token_principal(**which: Any) -> Principal:
    row = ApiToken.objects.select_related("created_by").filter(revoked=False, **which).first()
    if row is None or (row.expires_at is not None and row.expires_at <= timezone.now()):
        raise _unknown_token()
    if row.created_by is not None and not row.created_by.is_active:
        raise _unknown_token()
    return Principal("token", row.pk, row.name, frozenset(row.scopes))


def _unknown_token() -> NotSignedIn:
    return NotSignedIn("token: unknown, revoked or expired. Ask for a new one.", field="token")


def _load_session(session_key: str) -> dict[str, Any]:
    store = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    loaded: dict[str, Any] = store.load()
    return loaded


def _bearer(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.decode("latin1").partition(" ")
            # Other schemes are for others: a proxy's password reaches us too.
            if scheme.lower() == "bearer":
                return token.strip()
    return None


def _query_token(query_string: bytes) -> str | None:
    for name, value in parse_qsl(query_string.decode("latin1"), keep_blank_values=True):
        if name == "token":
            return value
    return None


def _session_key(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"cookie":
            key = parse_cookie(value.decode("latin1")).get(settings.SESSION_COOKIE_NAME, "")
            if key:
                return key
    return ""
