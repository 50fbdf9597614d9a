"""The live queries of all installed apps, as their `live.py` declares them.

@live_query("open-orders", params={"customer": int}, who=can_see_orders)
def open_orders(customer):
    return Order.objects.filter(customer_id=customer, open=True).values("id", "total")
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from django.db.models import Model
from pydantic import BaseModel

Who = Literal["anybody", "members", "staff"] | Callable[..., bool]
F = TypeVar("F", bound=Callable[..., Any])


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


def live_query(
    name: str,
    *,
    params: Mapping[str, Any] | None = None,
    reads: Collection[type[Model]] | None = None,
    who: Who = "members",
    key: str | Collection[str] = (),
) -> Callable[[F], F]:
    """Register the function under this name. Raises ValueError for a declaration that cannot work."""
    raise NotImplementedError


def query_named(name: str) -> LiveQuery | None:
    """The query of that name."""
    raise NotImplementedError


def queries() -> list[LiveQuery]:
    """All of them, by name."""
    raise NotImplementedError
