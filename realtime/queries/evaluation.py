"""One evaluation of one query: its value as JSON text, and as template blocks that are asked for show it.

Sync, one unit of work in a thread of its own pool. Reads one moment of the database and writes nothing.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import InterfaceError, OperationalError, connection

from realtime.conf import conf
from realtime.errors import HeadwaterError, NotFound, QueryFailed
from realtime.feeds.publication import encode_data

from . import blocks
from .changes import Read
from .limits import reading
from .names import Asked, read_name
from .result import Outcome, outcome_of

# What SQLite says when it is the database that fails, and not the query.
_AWAY = ("locked", "busy", "unable to open", "disk i/o", "is full", "malformed", "readonly")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of one.

    outcome   of the query
    painted   each block's HTML as JSON text, or why it has none
    """

    outcome: Outcome
    painted: Mapping[str, str | HeadwaterError]


def evaluate(
    name: str, shown: Collection[str] = (), *, limit_s: float, before: Read | None = None
) -> Evaluation:
    """Evaluate the query of that name, with the parameters and the user in it.

    shown    ids of blocks
    before   what an evaluation of that name has read, which spares this one to find out if it is the same

    Raises QueryFailed (QueryTooSlow past `limit_s`), BadInput, NotFound and TooLarge for what is wrong with
    the query or its result, and Django's OperationalError and InterfaceError for a database that is away.
    """
    asked = read_name(name)
    try:
        with reading(limit_s) as sent:
            outcome = outcome_of(asked, _user(asked), sent, before)
    except HeadwaterError:
        raise
    except (OperationalError, InterfaceError) as error:
        if _is_away(error):
            raise
        raise _failed(error) from error
    except Exception as error:
        raise _failed(error) from error
    return Evaluation(outcome, {block: _paint(block, asked, outcome) for block in shown})


def _user(asked: Asked) -> AbstractBaseUser | None:
    """The user whose query it is, as they are now."""
    if not asked.query.takes_user:
        return None
    try:
        user: Any = get_user_model()._default_manager.filter(pk=asked.user, is_active=True).first()
    except (ValueError, ValidationError):
        user = None
    if user is None:
        raise NotFound("This user is not there any more.", field="user")
    found: AbstractBaseUser = user
    return found


def _paint(block: str, asked: Asked, outcome: Outcome) -> str | HeadwaterError:
    try:
        html = blocks.render(block, asked.values, outcome.value)
        return encode_data(html, limit_bytes=conf().value_limit_bytes)
    except HeadwaterError as error:
        return error
    except Exception as error:
        return _failed(error)


def _is_away(error: Exception) -> bool:
    if connection.vendor != "sqlite":
        return True
    said = str(error).lower()
    return any(word in said for word in _AWAY)


def _failed(error: Exception) -> QueryFailed:
    """Watchers are told what it was, and nothing that it says: that may be somebody else's row."""
    reason = "".join(traceback.format_exception(error))
    return QueryFailed(f"The query failed ({type(error).__name__}). Its reason is in the log.", reason=reason)
