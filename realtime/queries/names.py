"""Names of live queries' feeds: `query:open-orders?customer=42`, or one template block of it behind a `#`.

Parameters are text in a name: numbers in decimal, truth as `true` and `false`, all others as pydantic writes
them in JSON. A name has many spellings and one canonical one: parameters by name, percent-encoded, without
those that equal their default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from realtime.errors import BadInput, NotFound
from realtime.feeds.checks import is_name, is_printable

from . import blocks
from .registry import LiveQuery, query_named

PREFIX = "query"
NAME_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Asked:
    """One query with its parameters: what is evaluated.

    values   of the function's parameters, all of them, of their types
    user     whose result it is, by primary key; empty: nobody's in particular, or not said
    block    the template block that shows it; empty: the value itself
    """

    query: LiveQuery
    values: Mapping[str, Any]
    user: str
    block: str

    @property
    def base(self) -> str:
        """The canonical name of the value, whatever shows it."""
        given = {name: value for name, value in self.values.items() if value != self._default(name)}
        return spelled(self.query.name, given | ({"user": self.user} if self.user else {}))

    @property
    def slug(self) -> str:
        """The canonical name of the feed."""
        return f"{self.base}#{self.block}" if self.block else self.base

    def _default(self, name: str) -> Any:
        return self.query.params.model_fields[name].get_default()


def spelled(query: str, values: Mapping[str, Any], block: str = "") -> str:
    """A name with these parameters, which are left out where they are None. `read_name` reads it."""
    texts = {name: text_of_value(value) for name, value in values.items() if value is not None}
    params = "&".join(f"{name}={quote(texts[name], safe='')}" for name in sorted(texts))
    return f"{PREFIX}:{query}{'?' if params else ''}{params}{'#' if block else ''}{block}"


def query_of(name: str) -> LiveQuery:
    """The query that a name is of, whatever its parameters are. Raises NotFound."""
    prefix, _, rest = name.partition("#")[0].partition("?")[0].partition(":")
    query = query_named(rest) if prefix == PREFIX else None
    if query is None:
        raise unknown()
    return query


def read_name(name: str) -> Asked:
    """What a name in any spelling asks for.

    Raises NotFound where there is no such query or block, and BadInput that names a parameter as
    `params.customer`, or `params` when all of them together are too long for a name.
    """
    query = query_of(name)
    address, _, block = name.partition("#")
    texts = _texts(address.partition("?")[2])
    user = texts.pop("user", "") if query.takes_user else ""
    try:
        values = query.params.model_validate_strings(texts)
    except ValidationError as error:
        raise _bad(query, error) from None
    asked = Asked(query, {field: getattr(values, field) for field in query.params.model_fields}, user, block)
    if block:
        if not is_name(block):
            raise unknown()
        blocks.find(block, query.name)
    if len(asked.slug) > NAME_LIMIT:
        raise BadInput(
            f"params: with them the name has {len(asked.slug):,} characters; the limit is {NAME_LIMIT}.",
            field="params",
        )
    return asked


def unknown() -> NotFound:
    """The one answer for what is not there and for what one may not read."""
    return NotFound("There is no feed of that name.", field="slug")


def _texts(params: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(params, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise BadInput("params: not UTF-8.", field="params") from None
    texts: dict[str, str] = {}
    for name, text in pairs:
        if not is_printable(name):
            raise BadInput("params: a name holds characters that cannot be printed.", field="params")
        if name in texts:
            raise _bad_param(name, "given more than once.")
        if not is_printable(text):
            raise _bad_param(name, "holds characters that cannot be printed.")
        texts[name] = text
    return texts


def text_of_value(value: Any) -> str:
    """A parameter's value as it stands in a name, before it is encoded."""
    plain = to_jsonable_python(value)
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return str(plain)


def _bad(query: LiveQuery, error: ValidationError) -> BadInput:
    """The first of its problems."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = str(problem["loc"][0])
    if problem["type"] == "missing":
        return _bad_param(name, f"{query.name} needs it.")
    if problem["type"] == "extra_forbidden":
        known = ", ".join(query.params.model_fields)
        return _bad_param(name[:100], f"{query.name} takes {known or 'no parameters'}.")
    return _bad_param(name, f"{problem['msg']}.")


def _bad_param(name: str, problem: str) -> BadInput:
    return BadInput(f"params.{name}: {problem}", field=f"params.{name}")
