"""One evaluation of a query: its function called, what came of it as JSON, and what it read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, QuerySet
from django.db.models.fields.files import FieldFile
from django.db.models.query import RawQuerySet

from realtime.conf import conf
from realtime.errors import BadInput, QueryTooSlow
from realtime.feeds.publication import encode_data

from .changes import Footprint, Read, Reads, Statement, merged
from .footprint import NotDerivable, footprint_of
from .instances import Shape, row_of, shape_of
from .names import Asked
from .registry import LiveQuery

User = AbstractBaseUser | AnonymousUser

_django_types = DjangoJSONEncoder().default


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an evaluation came to.

    text     the result as JSON
    key      the names of the values by which its rows are known; empty: it has no such rows
    value    the result as templates see it: rows are dicts, dates are dates
    read     what was read, and by which statements
    """

    text: str
    key: tuple[str, ...]
    value: Any
    read: Read

    @property
    def footprint(self) -> Footprint:
        """What was read."""
        return self.read.footprint


def outcome_of(
    asked: Asked, user: User | None, sent: Sequence[Statement] = (), before: Read | None = None
) -> Outcome:
    """Evaluate a query for a user, in this thread and on its connection.

    user     whom a query that takes one is called with
    sent     grows with each statement that is sent in this thread; without it, all is derived anew
    before   of an evaluation before: the same statements read the same, and it is not derived anew

    Raises BadInput naming `reads`, `key` or `result` when the query's declaration and its result do not fit
    together, TooLarge, QueryTooSlow when a coroutine outlasts the limit, and whatever the function raises.
    """
    query = asked.query
    result = _call(query, dict(asked.values) | ({"user": user} if query.takes_user else {}))
    value, model = _plain(result)
    text = encode_data(value, limit_bytes=conf().value_limit_bytes, field="result", default=_json_value)
    key = _key_of(query, value, model)
    if before is None or not sent or before.statements != tuple(sent):
        before = Read(tuple(sent), _footprint_of(query, result))
    return Outcome(text, key, value, before)


def whole_tables(query: LiveQuery) -> Footprint:
    """What the query declares that it reads: with the tables between both sides of many-to-many relations."""
    tables: dict[str, Reads] = {}
    for model in query.reads or ():
        meta = model._meta
        among: list[Any] = [*meta.many_to_many]
        among += [each.field for each in meta.related_objects if each.many_to_many]
        through = [field.remote_field.through._meta for field in among]
        own = [parent._meta for parent in meta.get_parent_list()]
        for each in (meta, *own, *(between for between in through if between.auto_created)):
            tables[each.db_table] = Reads()
    return tables


def _call(query: LiveQuery, given: dict[str, Any]) -> Any:
    if query.is_async:
        # Its ORM calls come back to this thread.
        return async_to_sync(_in_time)(query.function, given)
    return query.function(**given)


async def _in_time(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    """The database limits what runs in it; this limits what else is awaited."""
    limit_s = conf().query_limit_s
    try:
        async with asyncio.timeout(limit_s) as limit:
            return await function(**given)
    except TimeoutError:
        if limit.expired():
            raise QueryTooSlow(f"The query took longer than {limit_s:g} s and was cancelled.") from None
        raise


def _plain(result: Any) -> tuple[Any, type[Model] | None]:
    """The result without querysets and instances, and whose rows it has."""
    if isinstance(result, QuerySet):
        shape = shape_of(result)
        return [_plain_row(each, shape) for each in result], result.model
    if isinstance(result, RawQuerySet):
        rows = list(result)
        shape = Shape({name for name in result.columns if name not in result.model_fields})
        return [row_of(each, shape) for each in rows], result.model
    if isinstance(result, list | tuple):
        model = type(result[0]) if result and isinstance(result[0], Model) else None
        return [_plain_row(each, Shape()) for each in result], model
    return _plain_row(result, Shape()), None


def _plain_row(row: Any, shape: Shape) -> Any:
    return row_of(row, shape) if isinstance(row, Model) else row


def _json_value(value: Any) -> Any:
    return value.name if isinstance(value, FieldFile) else _django_types(value)


def _key_of(query: LiveQuery, value: Any, model: type[Model] | None) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        if query.key:
            raise BadInput(f"key: {query.name} has no rows with names in its result.", field="key")
        return ()
    if not value:
        return query.key
    key = query.key or _primary_key(value, model)
    if missing := [name for name in key if any(name not in row for row in value)]:
        raise BadInput(f"key: {query.name} has rows without {', '.join(missing)}.", field="key")
    try:
        known = {tuple(row[name] for name in key) for row in value}
    except TypeError:
        raise BadInput(f"key: {', '.join(key)} is not one value in {query.name}.", field="key") from None
    if key and len(known) < len(value):
        raise BadInput(
            f"key: several rows of {query.name} have the same {', '.join(key)}. Declare `key`: the names of "
            "the values that tell its rows apart.",
            field="key",
        )
    return key


def _primary_key(rows: Sequence[dict[str, Any]], model: type[Model] | None) -> tuple[str, ...]:
    candidates: list[tuple[str, ...]] = [("id",), ("pk",)]
    if model is not None:
        fields = model._meta.pk_fields
        candidates = [tuple(each.attname for each in fields), tuple(each.name for each in fields), ("pk",)]
    return next((key for key in candidates if all(name in row for row in rows for name in key)), ())


def _footprint_of(query: LiveQuery, result: Any) -> Footprint:
    declared = whole_tables(query)
    if not isinstance(result, QuerySet):
        problem = "what it reads cannot be seen, because no queryset is returned"
    else:
        try:
            return merged([footprint_of(result), declared])
        except NotDerivable as error:
            problem = f"what it reads cannot be derived: {error}"
    if not declared:
        raise BadInput(
            f"reads: {query.name}: {problem}. Declare the models that it reads: reads=[…].", field="reads"
        )
    return declared
