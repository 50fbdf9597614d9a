"""What is in a channel: publishing to it, its history, and who is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from realtime.feeds.catalog import check_publishable
from realtime.feeds.channels import parse_name, rules_of
from realtime.feeds.models import Feed

from .answer import Answer
from .codec import Raw
from .history import read_history
from .identity import may_publish
from .json_codec import CODEC
from .presence import stats_of
from .protocol import ErrorCode, ProtocolError
from .publishing import write
from .session import Session
from .subscription import Subscription

Params = Mapping[str, Any]


async def publish(session: Session, params: Params) -> Answer:
    """Publish for this client. Answered when it is committed."""
    text = params.get("channel", "")
    name = parse_name(text)
    if name.on_demand:
        check_publishable(Feed.Kind.QUERY, field="channel")
    subscription = session.subscriptions.get(text)
    channel = subscription.channel if subscription else await session.door.find(name)
    rules = channel.rules if channel else rules_of(name)
    if not may_publish(session.known, name, rules, subscribed=subscription is not None):
        raise ProtocolError(ErrorCode.PERMISSION_DENIED)
    channel = channel or await session.door.open(name)
    info = CODEC.encode(session.client_info(subscription))
    await write(session.door.feeds.store, channel, params.get("data", "null"), info=info)
    return Answer({})


async def history(session: Session, params: Params) -> Answer:
    """Publications of a channel that the client may look into."""
    subscription = _subscription(session, params)
    if not subscription.rules.history:
        raise ProtocolError(ErrorCode.NOT_AVAILABLE)
    asked = {name: params[name] for name in ("limit", "since", "reverse") if name in params}
    database = session.door.feeds.database
    return Answer(await read_history(database, subscription.channel, **asked, dated=subscription.full))


async def presence(session: Session, params: Params) -> Answer:
    """Who is there."""
    clients = await _clients(session, params)
    return Answer({"presence": {client: Raw(info) for client, info in clients.items()}})


async def presence_stats(session: Session, params: Params) -> Answer:
    """How many are there."""
    return Answer(stats_of((await _clients(session, params)).values())._asdict())


async def _clients(session: Session, params: Params) -> dict[str, str]:
    subscription = _subscription(session, params)
    if not subscription.rules.presence:
        raise ProtocolError(ErrorCode.NOT_AVAILABLE)
    return await session.door.presence.clients(subscription.channel.feed.id)


def _subscription(session: Session, params: Params) -> Subscription:
    """Only subscribers may look."""
    subscription = session.subscriptions.get(params.get("channel", ""))
    if subscription is None:
        raise ProtocolError(ErrorCode.PERMISSION_DENIED)
    return subscription
