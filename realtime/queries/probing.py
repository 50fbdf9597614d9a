"""Queries tried without asking for anything: what their querysets read is known before the first evaluation.

A query's function is called with sample values, on a database in which there is nothing. Lazy querysets do
not notice; what a function reads before it returns one, it does not find.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet
from pydantic import BaseModel, PydanticUserError, ValidationError

from .changes import Footprint, merged
from .footprint import NotDerivable, footprint_of
from .names import text_of_value
from .registry import LiveQuery
from .result import whole_tables

logger = logging.getLogger(__name__)

_FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00",
    "duration": "P1D",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "ana@example.com",
    "uri": "http://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}
_BOUNDS = {"minimum": 0, "exclusiveMinimum": 1, "maximum": 0, "exclusiveMaximum": -1, "multipleOf": 0}


class NoSample(ValueError):
    """No text was found that this parameter could have; the message is its name."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of one call.

    result    what the function returned
    eager     it asked the database for something before that
    """

    result: Any
    eager: bool


def probes(query: LiveQuery) -> list[Probe]:
    """The function called with all defaults, then with each other value that is known of a parameter.

    Raises NoSample, and whatever the function raises. A coroutine function is not called: [].
    """
    return [] if query.is_async else [_call(query, values) for values in _samples(query.params)]


def tables_of(query: LiveQuery) -> Footprint:
    """What is known of what the query may read, whatever its parameters are. Touches no database."""
    footprints = [whole_tables(query)]
    for queryset in _querysets(query):
        try:
            footprints.append(footprint_of(queryset))
        except NotDerivable:
            continue
    return merged(footprints)


def _querysets(query: LiveQuery) -> list[QuerySet[Any]]:
    try:
        found = probes(query)
    except Exception as error:
        # Somebody else's function. `checks` says the same before anything is served.
        logger.warning("query_not_tried name=%s %s", query.name, type(error).__name__)
        return []
    return [each.result for each in found if isinstance(each.result, QuerySet)]


def _call(query: LiveQuery, values: Mapping[str, Any]) -> Probe:
    given = dict(values)
    if query.takes_user:
        user = get_user_model()()
        user.pk = user.pk or 1
        given["user"] = user
    with _empty_database() as asked:
        result = query.function(**given)
    return Probe(result, bool(asked))


@contextmanager
def _empty_database() -> Iterator[list[str]]:
    """This thread's connection finds nothing, and is not opened. Yields the statements that it was given."""
    connection: Any = connections[DEFAULT_DB_ALIAS]
    asked: list[str] = []
    for name in ("cursor", "chunked_cursor"):
        setattr(connection, name, lambda *_: _EmptyCursor(asked))
    try:
        yield asked
    finally:
        del connection.cursor, connection.chunked_cursor


class _EmptyCursor:
    rowcount = 0
    lastrowid = None
    description = ()

    def __init__(self, asked: list[str]) -> None:
        self._asked = asked

    def execute(self, sql: str, params: Any = None) -> None:
        self._asked.append(sql)

    def fetchone(self) -> None:
        return None

    def fetchmany(self, size: int = 1) -> list[Any]:
        return []

    def fetchall(self) -> list[Any]:
        return []

    def close(self) -> None:
        return None

    def __enter__(self) -> _EmptyCursor:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def _samples(params: type[BaseModel]) -> Iterator[Mapping[str, Any]]:
    """Values for the function: the first one of every parameter, then each of the others in turn."""
    texts = {name: list(_texts(params, name)) for name in params.model_fields}
    first: dict[str, str] = {}
    for name, field in params.model_fields.items():
        if field.is_required():
            if not texts[name]:
                raise NoSample(name)
            first[name] = texts[name][0]
    yield _validated(params, first)
    for name, each in texts.items():
        for text in each:
            if first.get(name) != text:
                yield _validated(params, first | {name: text})


def _validated(params: type[BaseModel], texts: Mapping[str, str]) -> Mapping[str, Any]:
    model = params.model_validate_strings(dict(texts))
    return {name: getattr(model, name) for name in params.model_fields}


def _texts(params: type[BaseModel], name: str) -> Iterator[str]:
    """Texts that are this parameter's values, as they would stand in a name."""
    try:
        schema = params.model_json_schema()
    except PydanticUserError:
        return
    definitions = schema.get("$defs", {})
    for value in _values(schema["properties"][name], definitions):
        text = text_of_value(value)
        try:
            params.model_validate_strings({name: text})
        except ValidationError as error:
            if any(problem["loc"][0] == name for problem in error.errors()):
                continue
        yield text


def _values(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Any]:
    """Values that a JSON schema, as pydantic makes them, may allow."""
    yield from schema.get("examples", ())
    if "$ref" in schema:
        yield from _values(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    for each in (*schema.get("allOf", ()), *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _values(each, definitions)
    if "const" in schema or "enum" in schema:
        yield from schema.get("enum", [schema.get("const")])
    else:
        yield from _OF_TYPE.get(schema.get("type", ""), _nothing)(schema)


def _nothing(schema: Mapping[str, Any]) -> list[Any]:
    return []


def _numbers(schema: Mapping[str, Any]) -> list[Any]:
    bounded = [schema[name] + step for name, step in _BOUNDS.items() if name in schema]
    return [*bounded, 1][:1]


def _strings(schema: Mapping[str, Any]) -> list[Any]:
    if "format" in schema:
        return [_FORMATS[schema["format"]]] if schema["format"] in _FORMATS else []
    return ["a" * max(1, schema.get("minLength", 1))]


def _truths(schema: Mapping[str, Any]) -> list[Any]:
    return [True, False]


_OF_TYPE: dict[str, Callable[[Mapping[str, Any]], list[Any]]] = {
    "integer": _numbers,
    "number": _numbers,
    "string": _strings,
    "boolean": _truths,
}
