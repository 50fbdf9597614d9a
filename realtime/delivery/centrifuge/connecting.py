"""Connect and refresh: who a client is, and what the server subscribes it to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from realtime.conf import conf
from realtime.errors import BadInput, ExpiredToken, HeadwaterError, InvalidToken, NotFound
from realtime.feeds.access import ANONYMOUS, TRUSTED

from .answer import Answer, expiry
from .identity import Identity
from .page_tokens import PageToken, principal_of_page
from .protocol import Disconnect, DisconnectCode, ErrorCode, ProtocolError, disconnect_of
from .session import PING_S, Session
from .subscribing import subscribe_by_server
from .tokens import ConnectionToken, SubscribeOptions

VERSION = "Headwater"
Params = Mapping[str, Any]


async def connect(session: Session, params: Params) -> Answer:
    """Take the client in. Its own subscriptions begin with the reply, recovered where it says from where."""
    if session.identity is not None:
        raise Disconnect(DisconnectCode.BAD_REQUEST, "connected already")
    text = params.get("token", "")
    await session.door.listen()
    try:
        with session.door.control.entering(session) as disconnects:
            token = await session.door.tokens.connection(text) if text else None
            identity = await _identify(session, token)
    except InvalidToken as error:
        raise disconnect_of(error) from None
    for order in disconnects:
        if order["user"] == identity.user:
            raise Disconnect(order["code"], order["reason"])
    session.begin(identity)
    result: dict[str, Any] = {
        "client": session.id,
        "version": VERSION,
        "ping": PING_S,
        "pong": not session.wire.bare,
        "time": round(time.time() * 1000),
    }
    if session.secret:
        result |= {"session": session.secret, "node": session.door.node}
    resumed = params.get("subs") or {}
    begun = {}
    own = _own_channels(identity, token)
    await session.door.open_ahead(own, TRUSTED)
    for channel, options in own.items():
        try:
            begun[channel] = await subscribe_by_server(session, channel, resumed.get(channel, {}), options)
        except (ProtocolError, BadInput, NotFound) as error:
            raise Disconnect(DisconnectCode.BAD_REQUEST, f"{channel}: {error}") from None
        except HeadwaterError as error:
            raise disconnect_of(error) from None
    if begun:
        result["subs"] = {channel: answer for channel, (_, answer) in begun.items()}

    def begin() -> None:
        for subscription, _ in begun.values():
            session.begin_subscription(subscription)
        session.door.control.begin(session)

    return Answer(result | expiry(identity.expires_at), begin)


async def refresh(session: Session, params: Params) -> Answer:
    """Go on with a new token of the same user."""
    try:
        token = await session.door.tokens.connection(params.get("token", ""))
        identity = await _identify(session, token)
    except (ExpiredToken, InvalidToken) as error:
        raise disconnect_of(error) from None
    if identity.user != session.user:
        raise Disconnect(DisconnectCode.INVALID_TOKEN, "a token of another user")
    session.identity = identity
    session.expire(identity.expires_at)
    return Answer({"client": session.id, "version": VERSION} | expiry(identity.expires_at))


async def _identify(session: Session, token: ConnectionToken | PageToken | None) -> Identity:
    if token is None:
        if not conf().anonymous:
            raise ProtocolError(ErrorCode.UNAUTHORIZED, "a token is needed to connect here")
        return Identity("", ANONYMOUS)
    if isinstance(token, ConnectionToken):
        return Identity(token.user, ANONYMOUS, token.info, token.expires_at)
    principal = await session.door.feeds.database.read(principal_of_page, token)
    return Identity(token.user_id, principal, None, token.expires_at)


def _own_channels(
    identity: Identity, token: ConnectionToken | PageToken | None
) -> Mapping[str, SubscribeOptions]:
    """What the server subscribes this client to."""
    own: dict[str, SubscribeOptions] = {}
    if conf().personal_channels and identity.user:
        own[f"#{identity.user}"] = SubscribeOptions()
    if isinstance(token, ConnectionToken):
        own |= token.subs
    return own
