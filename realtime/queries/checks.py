"""System checks of the declared queries: what would fail or stay unheard once somebody watches.

A query that declares `reads` is taken at its word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core import checks
from django.db.models import QuerySet

from .footprint import NotDerivable, footprint_of
from .probing import NoSample, Probe, probes
from .registry import LiveQuery, place_of, queries

DECLARE = "Declare the models that it reads: reads=[…]."


def connect() -> None:
    """Have `manage.py check`, and every command that checks first, look at the queries."""
    checks.register(check_queries, "queries")


def check_queries(**_: Any) -> list[checks.CheckMessage]:
    """One message for each thing that is wrong with a query."""
    return [message for query in queries() for message in _messages(query)]


def _messages(query: LiveQuery) -> Iterator[checks.CheckMessage]:
    if query.is_async:
        if query.reads is None:
            yield _error(1, query, "is a coroutine function, which does not show what it reads")
        return
    try:
        tried = probes(query)
    except NoSample as error:
        hint = f"Give it a default, a type of one value, or Annotated[…, Field(examples=[…])]; or: {DECLARE}"
        if query.reads is None:
            yield _error(4, query, f"could not be tried, for want of a value for {error}", hint)
        return
    except Exception as error:
        if query.reads is None:
            yield _error(5, query, f"could not be tried: {type(error).__name__}: {error}")
        return
    if query.reads is None:
        yield from _unseen(query, tried)
    if any(isinstance(each.result, QuerySet) and not each.result.ordered for each in tried):
        yield checks.Warning(
            f"The live query {query.name} has no order: rows that come in another one are another result.",
            hint="Give its queryset an order_by() that leaves nothing open.",
            obj=place_of(query.function),
            id="headwater.W001",
        )


def _unseen(query: LiveQuery, tried: list[Probe]) -> Iterator[checks.CheckMessage]:
    """What is read although no queryset shows it; the first of each sort."""
    for each in tried:
        if not isinstance(each.result, QuerySet):
            yield _error(1, query, "does not return a queryset, which would show what it reads")
            return
    for each in tried:
        try:
            footprint_of(each.result)
        except NotDerivable as error:
            yield _error(2, query, f"does not show what it reads: {error}")
            return
    if any(each.eager for each in tried):
        yield _error(3, query, "reads the database before it returns its queryset")


def _error(number: int, query: LiveQuery, problem: str, hint: str = DECLARE) -> checks.Error:
    return checks.Error(
        f"The live query {query.name} {problem}.",
        hint=hint,
        obj=place_of(query.function),
        id=f"headwater.E{number:03}",
    )
