"""The server API's methods: each takes what its schema says and gives the result, or raises."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from django.utils import timezone

from realtime.delivery.centrifuge import orders
from realtime.delivery.centrifuge.codec import Raw, raw_of_text, raw_of_value
from realtime.delivery.centrifuge.connecting import VERSION
from realtime.delivery.centrifuge.door import Door
from realtime.delivery.centrifuge.history import read_history
from realtime.delivery.centrifuge.presence import stats_of
from realtime.delivery.centrifuge.protocol import DisconnectCode, ErrorCode, ProtocolError, error_of
from realtime.delivery.centrifuge.publishing import write
from realtime.errors import BadInput, HeadwaterError, NotFound
from realtime.feeds.access import Principal
from realtime.feeds.catalog import check_publishable
from realtime.feeds.channels import Channel, Name, parse_name, rules_of
from realtime.feeds.models import Feed
from realtime.feeds.position import Position
from realtime.feeds.retention import trim
from realtime.rpc import Caller

from . import server_schemas as schemas

logger = logging.getLogger(__name__)

AT_ONCE = 100
Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and on which loop."""

    door: Door
    principal: Principal


async def publish(asking: Asking, request: schemas.Publish) -> Result:
    return await _publish(asking, request.channel, request, _content(request))


async def broadcast(asking: Asking, request: schemas.Broadcast) -> Result:
    """The same publication in many channels; each fails alone."""
    data = _content(request)

    async def one(channel: str) -> Result:
        try:
            return {"result": await _publish(asking, channel, request, data)}
        except Exception as error:
            return {"error": told(error)}

    return {"responses": await side_by_side([partial(one, channel) for channel in request.channels])}


async def subscribe(asking: Asking, request: schemas.Subscribe) -> Result:
    await _find(asking, request.channel)
    if request.override:
        raise ProtocolError(
            ErrorCode.NOT_AVAILABLE, "override: a channel's rules are those of its feed or namespace"
        )
    since = request.recover_since
    order = orders.subscribe(
        request.user,
        request.channel,
        client=_client(request),
        info=_given(request.info, request.b64info, "info"),
        data=_given(request.data, request.b64data, "data"),
        since=None if since is None else Position(since.epoch, since.offset),
    )
    asking.door.control.give(order)
    return {}


async def unsubscribe(asking: Asking, request: schemas.Unsubscribe) -> Result:
    if request.channel:
        await _find(asking, request.channel)
    asking.door.control.give(orders.unsubscribe(request.user, request.channel, client=_client(request)))
    return {}


async def disconnect(asking: Asking, request: schemas.Disconnect) -> Result:
    farewell = request.disconnect or schemas.Farewell()
    code = farewell.code or DisconnectCode.FORCED
    if not 3000 <= code <= 4999:
        raise BadInput("disconnect.code: give a number from 3000 to 4999.", field="disconnect.code")
    order = orders.disconnect(
        request.user, code, farewell.reason, client=_client(request), keep=request.whitelist
    )
    asking.door.control.give(order)
    return {}


async def refresh(asking: Asking, request: schemas.Refresh) -> Result:
    expire_at = 0 if request.expired else request.expire_at or None
    asking.door.control.give(orders.refresh(request.user, expire_at, client=_client(request)))
    return {}


async def presence(asking: Asking, request: schemas.OfChannel) -> Result:
    clients = await _clients(asking, request.channel)
    return {"presence": {client: Raw(info) for client, info in clients.items()}}


async def presence_stats(asking: Asking, request: schemas.OfChannel) -> Result:
    return stats_of((await _clients(asking, request.channel)).values())._asdict()


async def history(asking: Asking, request: schemas.History) -> Result:
    _, channel = await _find(asking, request.channel)
    if channel is None:
        return {}
    since = None if request.since is None else request.since.model_dump()
    return await read_history(
        asking.door.feeds.database, channel, limit=request.limit, since=since, reverse=request.reverse
    )


async def history_remove(asking: Asking, request: schemas.OfChannel) -> Result:
    """Positions stay and go on. A feed keeps its newest value, as everywhere; a channel keeps nothing."""
    _, channel = await _find(asking, request.channel)
    if channel is not None:
        unit = partial(trim, channel.feed.id, timezone.now(), everything=True)
        while await asking.door.feeds.database.write(unit):
            pass
    return {}


async def channels(asking: Asking, request: schemas.Channels) -> Result:
    if "{" in request.pattern:
        raise BadInput("pattern: use *, ? and […]; there are no alternatives in braces.", field="pattern")
    found = await asking.door.nodes.channels(request.pattern)
    return {"channels": {channel: {"num_clients": count} for channel, count in found.items()}}


async def info(asking: Asking, request: schemas.Info) -> Result:
    return {"nodes": [{**node, "version": VERSION} for node in asking.door.nodes.known()]}


async def rpc(asking: Asking, request: schemas.Rpc) -> Result:
    caller = Caller("", "", asking.principal)
    try:
        data = await asking.door.calls.call(request.method, caller, raw_of_value(request.params))
    except ProtocolError as error:
        if error.code == ErrorCode.NOT_AVAILABLE:
            raise ProtocolError(ErrorCode.METHOD_NOT_FOUND) from error
        raise
    return {"data": data}


class Method(NamedTuple):
    """What it takes, who may, and what it does."""

    request: type[schemas.Request]
    scope: Literal["publish", "manage"]
    run: Callable[[Asking, Any], Awaitable[Result]]


METHODS: dict[str, Method] = {
    "publish": Method(schemas.Publish, "publish", publish),
    "broadcast": Method(schemas.Broadcast, "publish", broadcast),
    "subscribe": Method(schemas.Subscribe, "manage", subscribe),
    "unsubscribe": Method(schemas.Unsubscribe, "manage", unsubscribe),
    "disconnect": Method(schemas.Disconnect, "manage", disconnect),
    "refresh": Method(schemas.Refresh, "manage", refresh),
    "presence": Method(schemas.OfChannel, "manage", presence),
    "presence_stats": Method(schemas.OfChannel, "manage", presence_stats),
    "history": Method(schemas.History, "manage", history),
    "history_remove": Method(schemas.OfChannel, "manage", history_remove),
    "channels": Method(schemas.Channels, "manage", channels),
    "info": Method(schemas.Info, "manage", info),
    "rpc": Method(schemas.Rpc, "manage", rpc),
}


async def side_by_side(calls: Sequence[Callable[[], Awaitable[Result]]]) -> list[Result]:
    """Their results in order, `AT_ONCE` at a time. None of these may raise."""
    results: list[Result] = []
    for start in range(0, len(calls), AT_ONCE):
        results += await asyncio.gather(*(call() for call in calls[start : start + AT_ONCE]))
    return results


def told(error: Exception) -> dict[str, Any]:
    """As the API says it. What nobody foresaw is logged, and the client learns nothing of it."""
    if not isinstance(error, HeadwaterError | ProtocolError):
        logger.error("server_api_failed", exc_info=error)
    known = error_of(error)
    return {"code": int(known.code), "message": known.message}


async def _find(asking: Asking, text: str) -> tuple[Name, Channel | None]:
    """A channel, if somebody has opened it. Raises NotFound where there can be none of that name.

    What is opened on demand is opened, where the key may read it.
    """
    name = parse_name(text)
    if name.on_demand:
        return name, await asking.door.open_on_demand(name, asking.principal)
    channel = await asking.door.find(name)
    if channel is None:
        if name.is_feed:
            raise NotFound("There is no feed of that name.", field="channel")
        rules_of(name)
    return name, channel


async def _publish(asking: Asking, text: str, request: schemas.Content, data: Raw) -> Result:
    if parse_name(text).on_demand:
        check_publishable(Feed.Kind.QUERY, field="channel")
    name, channel = await _find(asking, text)
    position = await write(
        asking.door.feeds.store,
        channel or await asking.door.open(name),
        data,
        tags=raw_of_value(request.tags) if request.tags else "",
        key=request.idempotency_key,
    )
    return {"offset": position.offset, "epoch": position.epoch}


async def _clients(asking: Asking, text: str) -> dict[str, str]:
    name, channel = await _find(asking, text)
    rules = rules_of(name) if channel is None else channel.rules
    if not rules.presence:
        raise ProtocolError(ErrorCode.NOT_AVAILABLE, "presence is not kept for this channel")
    return {} if channel is None else await asking.door.presence.clients(channel.feed.id)


def _content(request: schemas.Content) -> Raw:
    return Raw(_given(request.data, request.b64data, "data") or "null")


def _given(value: Any, b64: str, field: str) -> str:
    """A value that may come in base 64, as JSON text; empty when it did not come at all."""
    if not b64:
        return "" if value is None else raw_of_value(value)
    try:
        return raw_of_text(base64.b64decode(b64, validate=True).decode())
    except (BadInput, ValueError):
        raise BadInput(f"b64{field}: not JSON text in UTF-8 and base 64.", field=f"b64{field}") from None


def _client(request: schemas.OfUser) -> str:
    if request.client and request.session and request.client != request.session:
        raise BadInput("session: here it is the client's id; give one of the two.", field="session")
    return request.client or request.session
