"""The live queries of all installed apps, as their `live.py` declares them.

@live_query("open-orders", params={"customer": int}, who=can_see_orders)
def open_orders(customer):
    return Order.objects.filter(customer_id=customer, open=True).values("id", "total")
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from django.db.models import Model
from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError, create_model

from realtime.feeds.checks import is_slug

Circle = Literal["anybody", "members", "staff"]
Who = Circle | Callable[..., bool]
F = TypeVar("F", bound=Callable[..., Any])

# Doors have parameters of these names in the same addresses.
RESERVED = frozenset({"since", "token", "feed", "delta", "user", "limit", "before", "start", "end"})

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True, eq=False)
class LiveQuery:
    """One declared query.

    name        as a slug
    function    called with the parameters by name, and with `user` if it takes one
    params      validates the parameters; strict about unknown names
    reads       models besides those that its querysets show; None: those alone
    who         who may watch: "anybody"; "members", who are active users and tokens with the scope read;
                "staff"; or a function of the user and of those parameters that it names
    key         names of the values by which a row is known; empty: the primary key, where rows have it
    takes_user  the function has a parameter `user`: each user has a result of their own
    is_async    it is a coroutine function
    """

    name: str
    function: Callable[..., Any]
    params: type[BaseModel]
    reads: frozenset[type[Model]] | None
    who: Who
    key: tuple[str, ...]
    takes_user: bool
    is_async: bool


_queries: dict[str, LiveQuery] = {}


def live_query(
    name: str,
    *,
    params: Mapping[str, Any] | None = None,
    reads: Collection[type[Model]] | None = None,
    who: Who = "members",
    key: str | Collection[str] = (),
) -> Callable[[F], F]:
    """Register the function under this name.

    params   the type of each parameter; the function's own defaults are theirs
    others   see `LiveQuery`

    Raises ValueError for a declaration that cannot work. The same function may come again: a module can be
    loaded twice.
    """

    def register(function: F) -> F:
        try:
            query = _declared(name, function, params or {}, reads, who, key)
        except ValueError as error:
            raise ValueError(f"live_query({name!r}): {error}") from None
        _queries[name] = query
        return function

    return register


def query_named(name: str) -> LiveQuery | None:
    """The query of that name."""
    return _queries.get(name)


def queries() -> list[LiveQuery]:
    """All of them, by name."""
    return [_queries[name] for name in sorted(_queries)]


def named_parameters(who: Callable[..., bool]) -> list[str]:
    """The query's parameters that this function wants besides the user, its first argument."""
    return list(_parameters(who))[1:]


def _declared(
    name: str,
    function: Callable[..., Any],
    types: Mapping[str, Any],
    reads: Collection[type[Model]] | None,
    who: Who,
    key: str | Collection[str],
) -> LiveQuery:
    if not is_slug(name):
        raise ValueError("a name has 1 to 100 lower-case letters, digits, hyphens and underscores")
    other = _queries.get(name)
    if other is not None and place_of(other.function) != place_of(function):
        raise ValueError(f"taken by {place_of(other.function)}")
    takes = _parameters(function)
    takes_user = takes.pop("user", None) is not None
    query = LiveQuery(
        name=name,
        function=function,
        params=_validator(name, types, takes),
        reads=None if reads is None else _models(reads),
        who=who,
        key=_key(key),
        takes_user=takes_user,
        is_async=inspect.iscoroutinefunction(function),
    )
    _check_who(who, types)
    if takes_user and who == "anybody":
        raise ValueError('who: a result of the user\'s own is not for "anybody"; "members" is every user')
    return query


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(function).parameters)
    for name, parameter in parameters.items():
        if parameter.kind not in _NAMED:
            raise ValueError(f"{place_of(function)}: {name} cannot be given by name")
    return parameters


def _validator(
    name: str, types: Mapping[str, Any], takes: Mapping[str, inspect.Parameter]
) -> type[BaseModel]:
    for param in types:
        if param in RESERVED:
            raise ValueError(f"params: {param} means something else at the doors. Choose another name.")
        if not (param.isidentifier() and param.isascii()) or param[0] == "_" or hasattr(BaseModel, param):
            raise ValueError(f"params: {param} cannot be a parameter. Choose another name.")
    if missing := [param for param in takes if param not in types]:
        raise ValueError(f"params: give the type of {', '.join(missing)}, which the function takes")
    if unknown := [param for param in types if param not in takes]:
        raise ValueError(f"params: the function does not take {', '.join(unknown)}")
    fields: Any = {}
    for param, kind in types.items():
        try:
            fields[param] = (kind, _default(TypeAdapter(kind), takes[param]))
        except PydanticUserError:
            raise ValueError(f"params: {param}: {kind!r} is no type that can be validated") from None
    config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())
    return create_model(f"params of {name}", __config__=config, **fields)


def _default(kind: TypeAdapter[Any], parameter: inspect.Parameter) -> Any:
    """As a value of the parameter's type; None stays, and says that nothing was given."""
    if parameter.default is parameter.empty:
        return ...
    if parameter.default is None:
        return None
    try:
        return kind.validate_python(parameter.default)
    except ValidationError:
        raise ValueError(f"params: the default of {parameter.name} is not of its type") from None


def _models(reads: Collection[type[Model]]) -> frozenset[type[Model]]:
    for model in reads:
        if not (isinstance(model, type) and issubclass(model, Model) and not model._meta.abstract):
            raise ValueError(f"reads: {model!r} is no model with a table")
    if not reads:
        raise ValueError("reads: name the models, or leave it out")
    return frozenset(reads)


def _key(key: str | Collection[str]) -> tuple[str, ...]:
    names = (key,) if isinstance(key, str) else tuple(key)
    if not all(isinstance(name, str) and name and "," not in name for name in names):
        raise ValueError("key: give the names of values in each row, without commas")
    return names


def _check_who(who: Who, types: Mapping[str, Any]) -> None:
    if not callable(who):
        if who not in get_args(Circle):
            raise ValueError(f"who: give {', '.join(get_args(Circle))}, or a function of the user")
        return
    if inspect.iscoroutinefunction(who):
        raise ValueError("who: give a function that is not async; it runs in a thread")
    if not _parameters(who):
        raise ValueError("who: the function takes the user first")
    if unknown := [param for param in named_parameters(who) if param not in types]:
        raise ValueError(f"who: the query has no parameter {', '.join(unknown)}")


def place_of(function: Callable[..., Any]) -> str:
    """Where a function was declared."""
    # Without either, as of a partial: by what it says of itself.
    module = getattr(function, "__module__", "")
    return f"{module}.{getattr(function, '__qualname__', function)}"
