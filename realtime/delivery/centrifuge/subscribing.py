"""Subscribe and unsubscribe: who may, and in which order things happen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from realtime.feeds.access import TRUSTED
from realtime.feeds.channels import Channel, Name, parse_name, rules_of

from .answer import Answer, expiry
from .codec import Command
from .identity import may_subscribe
from .protocol import Disconnect, DisconnectCode, ErrorCode, ProtocolError
from .session import Session
from .subscription import Subscription
from .tokens import SubscribeOptions, SubscriptionToken

CHANNEL_LIMIT = 128
Params = Mapping[str, Any]


async def subscribe(session: Session, params: Params) -> Answer:
    """Subscribe the client to one channel, with its token or by the channel's rules."""
    text = params.get("channel", "")
    if text in session.subscriptions:
        raise ProtocolError(ErrorCode.ALREADY_SUBSCRIBED)
    if len(session.subscriptions) >= CHANNEL_LIMIT:
        raise ProtocolError(ErrorCode.LIMIT_EXCEEDED, f"one connection may have {CHANNEL_LIMIT} channels")
    if params.get("delta", "") not in ("", "fossil"):
        raise Disconnect(DisconnectCode.BAD_REQUEST, "the only delta is fossil")
    if params.get("type", 0) or "tf" in params:
        raise ProtocolError(ErrorCode.NOT_AVAILABLE, "subscriptions of type 0 only, without a tags filter")
    name = parse_name(text)
    token = await _token(session, text, params.get("token", ""))
    channel = await _enter(session, name, trusted=token is not None)
    if token is None:
        subscription = Subscription(session, channel, params, by_right=name.is_feed)
    else:
        subscription = Subscription(session, channel, params, token.options, expires_at=token.expires_at)
    result = await start(session, subscription, params) | expiry(subscription.expires_at)
    return Answer(result, lambda: session.begin_subscription(subscription))


async def start(session: Session, subscription: Subscription, params: Params) -> dict[str, Any]:
    """Join the stream and be present in it; the reply's content. Nothing is left behind by a failure."""
    if subscription.channel.name.text in session.subscriptions:  # by an order, meanwhile
        raise ProtocolError(ErrorCode.ALREADY_SUBSCRIBED)
    session.add(subscription)
    try:
        result = await subscription.start(params)
        await session.door.arrive(session, subscription)
        session.check(subscription)
    except BaseException:
        # Nothing else: who removed it meanwhile has ended the rest, and another may have begun in its place.
        session.remove(subscription)
        subscription.leave()
        raise
    return result


async def subscribe_by_server(
    session: Session, text: str, params: Params, options: SubscribeOptions
) -> tuple[Subscription, dict[str, Any]]:
    """Subscribe the client to a channel that the server, or its token, chose."""
    channel = await _enter(session, parse_name(text), trusted=True)
    subscription = Subscription(session, channel, params, options, server_side=True)
    return subscription, await start(session, subscription, params)


async def unsubscribe(session: Session, params: Params) -> Answer:
    """End a subscription; no error when there is none."""
    subscription = session.subscriptions.get(params.get("channel", ""))
    if subscription is not None:
        session.remove(subscription)
        session.door.end_subscription(session, subscription)
    return Answer({})


async def sub_refresh(session: Session, params: Params) -> Answer:
    """Go on with a subscription whose token would expire."""
    text = params.get("channel", "")
    subscription = session.subscriptions.get(text)
    if subscription is None:
        raise ProtocolError(ErrorCode.PERMISSION_DENIED, "not subscribed")
    token = await _token(session, text, params.get("token", ""))
    if token is None:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "token: give one")
    subscription.expires_at = token.expires_at
    session.expire_subscription(subscription)
    return Answer(expiry(token.expires_at))


async def open_ahead(session: Session, commands: Iterable[Command | None]) -> None:
    """Have what a frame subscribes to on demand filled side by side, before its commands come one by one.

    What cannot be opened is told when its command comes.
    """
    if session.identity is None:
        return
    asked = (each.params for each in commands if each is not None and each.method == "subscribe")
    names = [params.get("channel", "") for params in asked if not params.get("token")]
    await session.door.open_ahead(names[:CHANNEL_LIMIT], session.identity.principal)


async def _token(session: Session, channel: str, text: str) -> SubscriptionToken | None:
    if not text:
        return None
    token = await session.door.tokens.subscription(text)
    if not token.is_for(user=session.user, channel=channel, client=session.id):
        raise Disconnect(DisconnectCode.INVALID_TOKEN, "a subscription token of another channel or client")
    return token


async def _enter(session: Session, name: Name, *, trusted: bool) -> Channel:
    """The channel, opened if this is its first use. Of feeds, those one may not read are unknown."""
    if name.on_demand:
        return await session.door.open_on_demand(name, TRUSTED if trusted else session.known.principal)
    channel = await session.door.find(name)
    rules = rules_of(name) if channel is None else channel.rules
    if not trusted and not may_subscribe(session.known, name, rules):
        raise ProtocolError(ErrorCode.UNKNOWN_CHANNEL if name.is_feed else ErrorCode.PERMISSION_DENIED)
    return channel or await session.door.open(name)
