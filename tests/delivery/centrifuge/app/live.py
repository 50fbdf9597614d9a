"""Methods for SDK clients, found because the app is installed."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User

from realtime.errors import NotFound
from realtime.rpc import Caller, RpcError, rpc


@rpc("echo")
async def echo(caller: Caller, data: Any) -> Any:
    return {"user": caller.user, "client": caller.client, "data": data}


@rpc("name-of")
def name_of(caller: Caller, data: Any) -> Any:
    user = User.objects.filter(pk=data).first()
    if user is None:
        raise NotFound("There is no such user.")
    return user.username


@rpc("fail")
async def fail(caller: Caller, data: Any) -> Any:
    if data == "by number":
        raise RpcError(1001, "out of stock")
    raise ZeroDivisionError(data)
