"""Clients enter and leave channels: who is inside, and how others are told.

Joins and leaves are signals in the feed's group: every process tells those of its clients who want to know.
They are hints like all signals: while Redis is away they are lost, and the clients of a process that was
killed leave without a word. Presence is what one asks to be sure.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from realtime.feeds.announcement import group_of
from realtime.feeds.broker import Broker

from .codec import Raw
from .json_codec import CODEC
from .presence import Presence
from .wire import Wire

if TYPE_CHECKING:
    from .session import Session
    from .subscription import Subscription

# In one turn of the loop, so that a large channel's news delays nobody's ping.
PORTION = 200
# News that wait for their turn. Past it the oldest are dropped.
WAITING_LIMIT = 10_000

Kind = Literal["join", "leave"]
Inside = dict["Subscription", "Session"]


class Attendance:
    """Of one loop. A subscription arrives before its reply, begins after it, and ends once."""

    def __init__(self, broker: Broker, presence: Presence) -> None:
        self._broker = broker
        self._presence = presence
        self._loop = asyncio.get_running_loop()
        self._inside: dict[int, Inside] = {}
        self._waiting: deque[tuple[Kind, int, str]] = deque(maxlen=WAITING_LIMIT)
        self._round: Iterator[tuple[Session, Any]] | None = None
        for kind in ("join", "leave"):
            broker.hear(kind, partial(self._hear, kind))

    async def arrive(self, session: Session, subscription: Subscription) -> None:
        """Others who ask see the client, where the channel keeps presence. Raises nothing."""
        if subscription.rules.presence:
            info = _info(session, subscription)
            await self._presence.add(subscription.channel.feed.id, session.id, info)

    def begin(self, session: Session, subscription: Subscription) -> None:
        """The client has its reply: others, and it itself, are told that it joined."""
        self._inside.setdefault(subscription.channel.feed.id, {})[subscription] = session
        self._say("join", session, subscription)

    def end(self, session: Session, subscription: Subscription) -> None:
        """The client is not inside any more; others are told if they were told that it joined. Idempotent."""
        feed_id = subscription.channel.feed.id
        if subscription.rules.presence:
            self._presence.remove(feed_id, session.id)
        inside = self._inside.get(feed_id, {})
        if inside.pop(subscription, None) is not None:
            if not inside:
                del self._inside[feed_id]
            self._say("leave", session, subscription)

    def channels(self) -> dict[str, int]:
        """How many subscriptions of this process each channel has, by its name."""
        return {next(iter(inside)).channel.name.text: len(inside) for inside in self._inside.values()}

    def _say(self, kind: Kind, session: Session, subscription: Subscription) -> None:
        if subscription.rules.join_leave != "off":
            feed_id = subscription.channel.feed.id
            signal = {"kind": kind, "feed": feed_id, "info": _info(session, subscription)}
            self._broker.signal(group_of(feed_id), signal)

    def _hear(self, kind: Kind, signal: dict[str, Any]) -> None:
        self._waiting.append((kind, signal["feed"], signal["info"]))
        if self._round is None:
            self._round = self._pushes()
            self._tell_some()

    def _tell_some(self) -> None:
        assert self._round is not None
        for _ in range(PORTION):
            told = next(self._round, None)
            if told is None:
                self._round = None
                return
            session, payload = told
            session.out.put(payload)
        self._loop.call_soon(self._tell_some)

    def _pushes(self) -> Iterator[tuple[Session, Any]]:
        """Each waiting push for each client who wants it, encoded once for all on the same wire."""
        while self._waiting:
            kind, feed_id, info = self._waiting.popleft()
            payloads: dict[Wire, Any] = {}
            for subscription, session in list(self._inside.get(feed_id, {}).items()):
                if not subscription.join_leave or subscription not in self._inside.get(feed_id, {}):
                    continue
                wire = session.wire
                if wire not in payloads:
                    push = {"channel": subscription.channel.name.text, kind: {"info": Raw(info)}}
                    payloads[wire] = wire.push(push)
                yield session, payloads[wire]


def _info(session: Session, subscription: Subscription) -> str:
    return CODEC.encode(session.client_info(subscription))
