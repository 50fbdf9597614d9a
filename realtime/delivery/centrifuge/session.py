"""One client of the protocol, whatever carries it: who it is, what it subscribed to, and how it ends."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from realtime.delivery.connection import Out
from realtime.delivery.frames import Event
from realtime.delivery.watching import Delivery
from realtime.errors import HeadwaterError

from .codec import Raw
from .identity import Identity
from .orders import Order
from .protocol import (
    Disconnect,
    DisconnectCode,
    ErrorCode,
    ProtocolError,
    UnsubscribeCode,
    disconnect_of,
)
from .subscription import Subscription
from .wire import Mode, Wire, form_of

if TYPE_CHECKING:
    from .door import Door

PING_S = 25
PONG_WITHIN_S = 8
CONNECT_WITHIN_S = 10
# After a token's expiry, for a client whose refresh is under way.
GRACE_S = 25


class Session:
    """A `Watcher` of all feeds that its client subscribed to.

    door     what all sessions of this loop share
    wire     how replies and pushes leave; a bare one only tells, so that its pings are not answered
    out      set by the transport before the first command; its `render` is the session's
    secret   what its client names it by at `/emulation`, set likewise where a transport has that. Not its id,
             which others see

    Whoever makes one must `leave` in the end.
    """

    out: Out
    secret = ""
    connected = False  # the reply to its connect is written

    def __init__(self, door: Door, wire: Wire) -> None:
        self.door = door
        self.wire = wire
        self.id = str(uuid.uuid4())
        self.identity: Identity | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.latest_only: set[int] = set()  # of the feeds subscribed to; see `Backlog`
        self.orders: list[Order] = []  # to subscribe or not; see `Control`
        self._by_feed: dict[int, Subscription] = {}
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._pongs_due = 0
        self.busy = False  # a command is under way, behind which the client's next words wait
        self._ending: Disconnect | None = None
        self._after("connect", CONNECT_WITHIN_S, lambda: self.close(Disconnect(DisconnectCode.STALE)))

    @property
    def delivery(self) -> Delivery:
        """Where feeds are watched."""
        return self.door.delivery

    @property
    def known(self) -> Identity:
        """Who this is. Raises Disconnect before the client has said so."""
        if self.identity is None:
            raise Disconnect(DisconnectCode.BAD_REQUEST, "connect first")
        return self.identity

    @property
    def user(self) -> str:
        """As its token names it; empty: anonymous."""
        return self.known.user

    def begin(self, identity: Identity) -> None:
        """The client has said who it is."""
        self.identity = identity
        self._cancel("connect")
        self._after("ping", random.uniform(PING_S / 2, PING_S), self._ping)  # noqa: S311 - spreads work
        self.expire(identity.expires_at)
        self.door.enter(self)

    # To the client

    def reply(self, number: int, method: str, result: Mapping[str, Any]) -> None:
        """Answer a command."""
        self.out.put(self.wire.reply({"id": number, method: result}))

    def refuse(self, number: int, error: ProtocolError) -> None:
        """Answer a command that failed."""
        self.out.put(self.wire.reply({"id": number, "error": error.error}))

    def push(self, push: Mapping[str, Any]) -> None:
        """Tell something that was not asked for."""
        self.out.put(self.wire.push(push))

    # Time

    def expire(self, at: float | None) -> None:
        """Close when the client's token has expired at this time (Unix, seconds) and no other came."""
        self._expire("expiry", at, lambda: self.close(Disconnect(DisconnectCode.EXPIRED)))

    def expire_subscription(self, subscription: Subscription) -> None:
        """End a subscription when its token has expired and no other came."""
        name = f"expiry of {subscription.channel.name.text}"
        self._expire(name, subscription.expires_at, lambda: self.lose(subscription, UnsubscribeCode.EXPIRED))

    def _expire(self, name: str, at: float | None, call: Callable[[], None]) -> None:
        self._cancel(name)
        if at is not None:
            self._after(name, at + GRACE_S - time.time(), call)

    def _ping(self) -> None:
        self.out.put(self.wire.reply({}))
        self._after("ping", PING_S, self._ping)
        if not self.wire.bare:
            self._pongs_due += 1
            self._after("pong", PONG_WITHIN_S, self._miss_pong)

    def _miss_pong(self) -> None:
        if self.busy:  # the pong may wait behind the command
            self._after("pong", PONG_WITHIN_S, self._miss_pong)
        else:
            self.close(Disconnect(DisconnectCode.NO_PONG))

    def hear_pong(self) -> None:
        """The client answered a ping. Raises Disconnect when there was none."""
        if not self._pongs_due:
            raise Disconnect(DisconnectCode.BAD_REQUEST, "a pong that nobody asked for")
        self._pongs_due -= 1
        if not self._pongs_due:
            self._cancel("pong")

    # Subscriptions

    def add(self, subscription: Subscription) -> None:
        """Route the feed's events to this subscription."""
        self.subscriptions[subscription.channel.name.text] = subscription
        feed = subscription.channel.feed
        self._by_feed[feed.id] = subscription
        if feed.latest_only:
            self.latest_only.add(feed.id)

    def remove(self, subscription: Subscription) -> None:
        """Hear nothing more of it. Idempotent."""
        name = subscription.channel.name.text
        if self.subscriptions.get(name) is subscription:
            del self.subscriptions[name], self._by_feed[subscription.channel.feed.id]
            if subscription.channel.feed.id in self.latest_only:
                self.latest_only.discard(subscription.channel.feed.id)
                # A later subscription's values must not take a place before its reply.
                self.out.forget(subscription.channel.feed.id)
            self._cancel(f"expiry of {name}")

    def check(self, subscription: Subscription) -> None:
        """Raises ProtocolError when it was removed while it started: an error that passes, as SDKs see it."""
        if self.subscriptions.get(subscription.channel.name.text) is not subscription:
            raise ProtocolError(ErrorCode.INTERNAL, "the subscription was ended while it began")

    def begin_subscription(self, subscription: Subscription) -> None:
        """Its reply is written: tell what came meanwhile, and from now on at once."""
        subscription.go_live()
        self.expire_subscription(subscription)
        self.door.begin_subscription(self, subscription)

    def lose(self, subscription: Subscription, code: UnsubscribeCode) -> None:
        """End a subscription for the server; the client subscribes again unless the code is final."""
        if subscription.server_side and code is UnsubscribeCode.INSUFFICIENT_STATE:
            self.close(Disconnect(DisconnectCode.INSUFFICIENT_STATE))
            return
        self.remove(subscription)
        unsubscribe = {"code": int(code), "reason": code.reason}
        self.push({"channel": subscription.channel.name.text, "unsubscribe": unsubscribe})
        # Not now: the hub may be telling this very subscription something.
        self._loop.call_soon(self.door.end_subscription, self, subscription)

    def client_info(self, subscription: Subscription | None) -> dict[str, Any]:
        """How others see this client."""
        info: dict[str, Any] = {"user": self.user, "client": self.id}
        if self.known.info is not None:
            info["conn_info"] = self.known.info
        if subscription is not None and subscription.info is not None:
            info["chan_info"] = subscription.info
        return info

    # What the hub tells

    def deliver(self, *events: Event) -> None:
        """See `Watcher`."""
        if len(events) == 1:
            subscription = self._by_feed.get(events[0].feed_id)
            if subscription is None:
                return
            # What somebody else's turn has made: the short way of nearly every delivery.
            made = events[0].encoded.get(subscription.form)
            if made is not None and not self.out.held:
                self.out.send(made)
            elif subscription.takes(events[0]):
                self.out.deliver(events[0])
        else:
            taken = [event for event in events if self._takes(event)]
            if taken:
                self.out.deliver(*taken)

    start = deliver

    async def drain(self) -> None:
        """A start is bounded, and leaves as a whole in one reply."""

    def _takes(self, event: Event) -> bool:
        subscription = self._by_feed.get(event.feed_id)
        return subscription is not None and subscription.takes(event)

    def render(self, event: Event) -> Any:
        """An event as this client gets it."""
        if event.kind == "status":
            return self.wire.push({"message": {"data": Raw(event.plain)}})
        subscription = self._by_feed.get(event.feed_id)
        form = form_of(self.wire, Mode.PLAIN) if subscription is None else subscription.form_for(event)
        return form.push(event)

    # The end

    def close(self, disconnect: Disconnect) -> None:
        """Tell the client why, and close. The first reason stays."""
        if self._ending is None:
            self._ending = disconnect
            self.out.end(HeadwaterError(disconnect.reason))

    def farewell(self, reason: Exception) -> Disconnect:
        """With which code a transport closes that ended for this reason."""
        return self._ending or disconnect_of(reason)

    def leave(self) -> None:
        """The connection has ended: give everything back. Idempotent; not while the hub delivers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for subscription in list(self.subscriptions.values()):
            self.remove(subscription)
            self.door.end_subscription(self, subscription)
        self.door.leave(self)

    def _after(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        self._cancel(name)
        self._timers[name] = self._loop.call_later(max(delay_s, 0), call)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
