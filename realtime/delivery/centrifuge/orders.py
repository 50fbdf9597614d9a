"""Orders: what is to be done to a user's connections, as signals for all processes. `control` obeys them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from realtime.feeds.position import Position
from realtime.feeds.runtime import signal_now

from .protocol import DisconnectCode

GROUP = "control"
KIND = "order"

Order = dict[str, Any]


def disconnect(
    user: str,
    code: int = DisconnectCode.FORCED,
    reason: str = "",
    *,
    client: str = "",
    keep: Collection[str] = (),
) -> Order:
    """End this user's connections, or only that of `client`, but none of those in `keep`."""
    return _order("disconnect", user, client, code=int(code), reason=reason, keep=list(keep))


def unsubscribe(user: str, channel: str = "", *, client: str = "") -> Order:
    """End the user's subscriptions to a channel, or all of them without one."""
    return _order("unsubscribe", user, client, channel=channel)


def subscribe(
    user: str,
    channel: str,
    *,
    client: str = "",
    info: str = "",
    data: str = "",
    since: Position | None = None,
) -> Order:
    """Subscribe the user's connections to a channel, whatever its rules say.

    info    JSON text that others see of this subscription
    data    JSON text that the client gets with the news that it is subscribed
    since   recover from there
    """
    position = None if since is None else [since.epoch, since.offset]
    return _order("subscribe", user, client, channel=channel, info=info, data=data, since=position)


def refresh(user: str, expire_at: int | None, *, client: str = "") -> Order:
    """Let the user's connections expire at this time (Unix, seconds), in the past: now; None: never."""
    return _order("refresh", user, client, expire_at=expire_at)


def resume(user: str, *, client: str) -> Order:
    """Obey what waits for this connection. A process gives it to itself alone."""
    return _order("resume", user, client)


def _order(do: str, user: str, client: str, **what: Any) -> Order:
    return {"kind": KIND, "do": do, "user": user, "client": client, **what}


def order_now(order: Order) -> None:
    """Give an order from sync code, at once: after the commit of what it is about."""
    signal_now(GROUP, order)
