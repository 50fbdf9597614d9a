"""Who may watch which query: what the doors ask before they open its feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError

from realtime.errors import BadInput
from realtime.feeds.access import Principal
from realtime.feeds.checks import TITLE_LIMIT
from realtime.feeds.demand import Opened

from .names import Asked, query_of, read_name, unknown
from .registry import Who, named_parameters


class QueryOpener:
    """Opens `query:` names; see `feeds.demand.Opener`."""

    def resolve(self, name: str, principal: Principal) -> Opened:
        """What the name means for whoever may watch that query.

        A user's query without a user is the asker's own; a token that may read every feed names one. Raises
        BadInput for wrong parameters, but not to whom the query's existence is a secret whatever they are.
        """
        query = query_of(name)
        if not _may_ask(query.who, principal):
            raise unknown()
        try:
            asked = read_name(name)
        except BadInput:
            if callable(query.who) and principal.kind == "anonymous":
                raise unknown() from None
            raise
        if query.takes_user:
            asked = _of_user(asked, principal)
        if (
            callable(query.who)
            and not _reads_all(principal)
            and not _lets(query.who, asked.values, principal)
        ):
            raise unknown()
        return Opened(asked.slug, asked.base, _title(asked), public=query.who == "anybody")


def user_of(principal: Principal) -> AbstractBaseUser | AnonymousUser:
    """The active user who asks, as of now; else nobody in particular."""
    user = _active_user(principal.id) if principal.kind == "user" else None
    return user or AnonymousUser()


def _may_ask(who: Who, principal: Principal) -> bool:
    """As far as that can be told without parameters."""
    if who == "anybody" or callable(who) or _reads_all(principal):
        return True
    return principal.may_manage or (who == "members" and principal.may_read(public=False))


def _reads_all(principal: Principal) -> bool:
    """A token that may read feeds may read every feed, whatever is asked of users."""
    return principal.kind == "token" and principal.may_read(public=False)


def _of_user(asked: Asked, principal: Principal) -> Asked:
    """Whose result is asked for. Raises NotFound for somebody else's, and for nobody's."""
    own = principal.id if principal.kind == "user" else None
    if _reads_all(principal):
        if not asked.user:
            raise BadInput("params.user: say whose result, by the user's primary key.", field="params.user")
        user = _active_user(asked.user)
        own = None if user is None else user.pk
    elif asked.user and _key(asked.user) != own:
        own = None
    if own is None:
        raise unknown()
    return read_name(replace(asked, user=str(own)).slug)


def _lets(who: Any, values: Mapping[str, Any], principal: Principal) -> bool:
    return bool(who(user_of(principal), **{name: values[name] for name in named_parameters(who)}))


def _active_user(key: object) -> AbstractBaseUser | None:
    found: AbstractBaseUser | None = (
        get_user_model()._default_manager.filter(pk=_key(key), is_active=True).first()
    )
    return found


def _key(key: object) -> Any:
    try:
        return get_user_model()._meta.pk.to_python(key)
    except ValidationError:
        return None


def _title(asked: Asked) -> str:
    _, _, params = asked.base.partition("?")
    words = asked.query.name.replace("-", " ").replace("_", " ").capitalize()
    title = f"{words} ({', '.join(unquote(each) for each in params.split('&'))})" if params else words
    return title[:TITLE_LIMIT]
