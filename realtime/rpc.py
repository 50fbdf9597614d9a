"""Methods that clients of the Centrifuge protocol may call. Any installed app has its own in its `live.py`.

    from realtime.rpc import Caller, rpc

    @rpc("order-total")
    async def order_total(caller: Caller, data: Any) -> Any:
        order = await Order.objects.aget(pk=data["order"], customer__user_id=caller.user)
        return {"total": str(order.total)}

A sync function runs on a thread of its own pool, with the ORM at hand. What is returned must be a JSON value.
Errors of the tree in `realtime.errors` reach the client with their message; `RpcError` with a number of one's
own; any other exception is logged, and the client is told nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from realtime.errors import HeadwaterError
from realtime.feeds.access import Principal

OWN_CODES = range(400, 2000)

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    user        as the connection's token names it; empty: nobody known, or the server API
    client      the connection's id; empty: the server API
    principal   its rights here
    """

    user: str
    client: str
    principal: Principal


class RpcError(HeadwaterError):
    """The method failed for a reason that the client knows by this number, 400 to 1999."""

    code = "rpc_error"

    def __init__(self, number: int, message: str) -> None:
        if number not in OWN_CODES:
            raise ValueError(f"{number}: an error's own number is from {OWN_CODES[0]} to {OWN_CODES[-1]}")
        super().__init__(message)
        self.number = number


_methods: dict[str, Callable[..., Any]] = {}


def rpc(name: str) -> Callable[[F], F]:
    """Register `function(caller, data)` under this name. Raises ValueError when another has it."""

    def register(function: F) -> F:
        other = _methods.get(name)
        if not name or (other is not None and _place(other) != _place(function)):
            raise ValueError(f"rpc({name!r}): {'taken by ' + _place(other) if other else 'give it a name'}")
        _methods[name] = function
        return function

    return register


def method(name: str) -> Callable[..., Any] | None:
    """The function registered under this name."""
    return _methods.get(name)


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
