"""What is done to users' connections, on every process: disconnect, unsubscribe, subscribe, refresh.

An order is a signal to all processes. This one obeys at once; the others as soon as they hear it, which they
do not while Redis is away: then rights end when they are looked at again, see `delivery.patrol`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from realtime.errors import HeadwaterError

from .answer import expiry
from .codec import Raw
from .orders import GROUP, KIND, Order, resume
from .protocol import Disconnect, DisconnectCode, ProtocolError, UnsubscribeCode
from .subscribing import subscribe_by_server
from .tokens import SubscribeOptions

if TYPE_CHECKING:
    from .door import Door
    from .session import Session

logger = logging.getLogger(__name__)

WAITING_LIMIT = 10_000
# Orders that wait for one client that is being let in. Past it the oldest are dropped.
ORDERS_LIMIT = 1_000
BATCH = 100
# What a client hears of a subscription that it did not ask for.
TOLD = ("recoverable", "positioned", "epoch", "offset", "data")


class Control:
    """Obeys orders in one process. Subscriptions begin and end in the background, in order for each user.

    Those of a client that is still being let in wait until it has its connect reply: SDKs throw away what is
    pushed before that, and the order may be about a channel that its token names too.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        self._broker = door.feeds.broker
        self._waiting: deque[Order] = deque(maxlen=WAITING_LIMIT)
        self._news = asyncio.Event()
        self._entering: dict[Session, list[Order]] = {}
        self._broker.hear(KIND, self._hear)
        door.feeds.supervisor.spawn("orders", self._obey_in_order)

    def give(self, order: Order) -> None:
        """Obey here, and have all other processes obey."""
        self._obey(order)
        self._broker.signal(GROUP, order | {"from": self._door.node})

    @contextlib.contextmanager
    def entering(self, session: Session) -> Iterator[list[Order]]:
        """All orders to disconnect that come inside: while one reads who a client is, they do not find it."""
        heard = self._entering[session] = []
        try:
            yield heard
        finally:
            del self._entering[session]

    def begin(self, session: Session) -> None:
        """The client has its connect reply: obey the orders that waited for that."""
        session.connected = True
        if session.orders:
            self._obey(resume(session.user, client=session.id))

    def _hear(self, order: Order) -> None:
        if order.get("from") != self._door.node:
            self._obey(order)

    def _obey(self, order: Order) -> None:
        match order["do"]:
            case "disconnect":
                for session, heard in self._entering.items():
                    if order["client"] in ("", session.id) and session.id not in order["keep"]:
                        heard.append(order)
                for session in self._addressed(order):
                    if session.id not in order["keep"]:
                        session.close(Disconnect(order["code"], order["reason"]))
            case "refresh":
                for session in self._addressed(order):
                    _refresh(session, order["expire_at"])
            case _:
                self._waiting.append(order)
                self._news.set()

    def _addressed(self, order: Order) -> list[Session]:
        sessions = self._door.of_user(order["user"])
        return [session for session in sessions if order["client"] in ("", session.id)]

    async def _obey_in_order(self) -> None:
        """Users side by side, the orders about one user one after the other."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                by_user: defaultdict[str, list[Order]] = defaultdict(list)
                for _ in range(min(BATCH, len(self._waiting))):
                    order = self._waiting.popleft()
                    by_user[order["user"]].append(order)
                async with asyncio.TaskGroup() as group:
                    for orders in by_user.values():
                        group.create_task(self._obey_all(orders))

    async def _obey_all(self, orders: Collection[Order]) -> None:
        for order in orders:
            for session in self._addressed(order):
                if order["do"] != "resume":
                    session.orders.append(order)
                    del session.orders[:-ORDERS_LIMIT]
                while session.connected and session.orders:
                    await self._change(session, session.orders.pop(0))

    async def _change(self, session: Session, order: Order) -> None:
        try:
            if order["do"] == "subscribe":
                await self._subscribe(session, order)
            else:
                _unsubscribe(session, order["channel"])
        except (ProtocolError, HeadwaterError, Disconnect) as error:
            # Whoever gave the order has long gone.
            logger.warning("order_failed do=%s %s", order["do"], type(error).__name__)
        except Exception:
            logger.exception("order_failed do=%s", order["do"])

    async def _subscribe(self, session: Session, order: Order) -> None:
        channel = order["channel"]
        if channel in session.subscriptions:
            return
        params: dict[str, Any] = {}
        if order["since"] is not None:
            epoch, offset = order["since"]
            params = {"recover": True, "epoch": epoch, "offset": offset}
        info, data = (Raw(order[name]) if order[name] else None for name in ("info", "data"))
        options = SubscribeOptions(info, data)
        subscription, result = await subscribe_by_server(session, channel, params, options)
        if session.id not in self._door.sessions:
            session.remove(subscription)
            self._door.end_subscription(session, subscription)
            return
        told: dict[str, Any] = {name: result[name] for name in TOLD if name in result}
        session.push({"channel": channel, "subscribe": told})
        for publication in result.get("publications", ()):
            session.push({"channel": channel, "pub": publication})
        session.begin_subscription(subscription)


def _unsubscribe(session: Session, channel: str) -> None:
    for name, subscription in list(session.subscriptions.items()):
        if channel in ("", name):
            session.lose(subscription, UnsubscribeCode.SERVER)


def _refresh(session: Session, expire_at: int | None) -> None:
    if expire_at is not None and expire_at <= time.time():
        session.close(Disconnect(DisconnectCode.EXPIRED))
        return
    session.expire(expire_at)
    if session.wire.bare:  # who sends nothing is told; SDKs ask by themselves
        session.push({"refresh": expiry(expire_at)})
