"""What a queryset reads, told before it is evaluated, from the SQL that Django would make of it.

A footprint may name more than is read, never less: what is not certain counts as read. What nobody can tell
is refused, and has to be declared. Which rows come when nothing orders them, and what the time of day
changes, is no change of rows.
"""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet

from .changes import Footprint, Reads, merged
from .equals import DJANGOS
from .prefetches import Followed, prefetched
from .tables import NotDerivable, footprint_of_query

__all__ = ["NotDerivable", "footprint_of"]


def footprint_of(queryset: QuerySet[Any]) -> dict[str, Reads]:
    """The tables, columns and values of rows that the queryset reads, with its prefetches.

    Touches no database, unless a generic relation has to look up its content type. Raises NotDerivable for
    raw SQL, `extra()`, querysets that fetch in a way of their own, and prefetches of no single model.
    """
    return _whole(queryset, frozenset())


def _whole(queryset: QuerySet[Any], followed: Followed) -> dict[str, Reads]:
    _check(queryset)
    parts: list[Footprint] = [footprint_of_query(queryset.query, queryset.db)]
    return merged(parts + list(prefetched(queryset, _whole, followed)))


def _check(queryset: QuerySet[Any]) -> None:
    if not isinstance(queryset, QuerySet):
        raise NotDerivable(f"{type(queryset).__qualname__} is not a queryset")
    kind: Any = type(queryset)
    own = [name for name in ("_fetch_all", "iterator", "__iter__") if getattr(kind, name) is not _BASE[name]]
    if own or not queryset._iterable_class.__module__.startswith(DJANGOS):
        raise NotDerivable(f"{kind.__qualname__} fetches rows in a way of its own")
    if queryset.db != DEFAULT_DB_ALIAS:
        raise NotDerivable(f"no changes are heard of the database {queryset.db!r}")


_BASE: dict[str, Any] = {name: vars(QuerySet)[name] for name in ("_fetch_all", "iterator", "__iter__")}
