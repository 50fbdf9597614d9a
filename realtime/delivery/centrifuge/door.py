"""What all sessions of one loop share: channels, who is connected, what happens when one of them leaves."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING

from realtime.delivery.patrol import Patrol, Visit
from realtime.delivery.watching import Delivery, Want
from realtime.errors import HeadwaterError
from realtime.feeds.access import Principal
from realtime.feeds.channels import Channel, Name, feed_rules, find_channels, open_channel
from realtime.feeds.demand import Opening, opener_of
from realtime.feeds.runtime import Feeds
from realtime.feeds.shared_reads import SharedReads

from .attendance import Attendance
from .control import Control
from .nodes import Nodes
from .presence import open_presence
from .protocol import UnsubscribeCode
from .rpc import Calls
from .tokens import Tokens

if TYPE_CHECKING:
    from .session import Session
    from .subscription import Subscription


class Door:
    """One for each loop; `of` makes it. `node` names this process to others."""

    def __init__(self, feeds: Feeds) -> None:
        self.feeds = feeds
        self.delivery = Delivery.current()
        self.node = uuid.uuid4().hex
        self.tokens = Tokens.of_conf()
        feeds.closing.push_async_callback(self.tokens.aclose)
        self.sessions: dict[str, Session] = {}
        self._by_user: defaultdict[str, set[Session]] = defaultdict(set)
        self._channels = SharedReads(self._find, batch_limit=500)
        self._opening = Opening.of(feeds)
        self.presence = open_presence(feeds)
        self.attendance = Attendance(feeds.broker, self.presence)
        self.calls = Calls(feeds)
        self.control = Control(self)
        self.patrol = Patrol.of(feeds)
        self.nodes = Nodes(self)

    @classmethod
    def of(cls, feeds: Feeds) -> Door:
        """The one of these feeds."""
        return feeds.part(cls)

    async def find(self, name: Name) -> Channel | None:
        """The channel, if somebody has opened it."""
        return await self._channels.ask(name.text)

    async def open(self, name: Name) -> Channel:
        """A channel that was not found, opened now. Raises NotFound for a feed that does not exist."""
        return await self.feeds.database.write(open_channel, name.text)

    async def open_on_demand(self, name: Name, principal: Principal) -> Channel:
        """A channel that is opened on demand, with its present value: see `Opening.open`.

        Raises NotFound for what this principal may not read, and BadInput for another spelling of a name.
        """
        feed = await self._opening.open(name.text, principal, exact=True)
        return Channel(name, feed, feed_rules(feed))

    async def open_ahead(self, names: Collection[str], principal: Principal) -> None:
        """Open those of these channels that are opened on demand side by side, as far as they can be opened.

        So that no one is waited for behind another, when each is entered in turn. Raises nothing.
        """
        on_demand = [name for name in names if opener_of(name) is not None]
        if len(on_demand) > 1:
            opened = (self._opening.open(name, principal, exact=True) for name in on_demand)
            await asyncio.gather(*opened, return_exceptions=True)

    async def _find(self, names: Sequence[str]) -> dict[str, Channel]:
        return await self.feeds.database.read(find_channels, names)

    async def arrive(self, session: Session, subscription: Subscription) -> None:
        """Be seen by others who ask, before the reply."""
        await self.attendance.arrive(session, subscription)

    def begin_subscription(self, session: Session, subscription: Subscription) -> None:
        """Tell others, after the reply, and look from time to time whether the client may still read it."""
        self.attendance.begin(session, subscription)
        if subscription.by_right:
            feed = subscription.channel.feed
            lost = partial(self._lose, session, subscription)
            subscription.visit = Visit(session.known.principal, [Want(feed.id, feed.slug)], lost)
            self.patrol.enter(subscription.visit)

    @staticmethod
    def _lose(session: Session, subscription: Subscription, _: HeadwaterError) -> None:
        session.lose(subscription, UnsubscribeCode.SERVER)

    def end_subscription(self, session: Session, subscription: Subscription) -> None:
        """Hear nothing more, and tell others. Idempotent; not while the hub delivers."""
        subscription.leave()
        if subscription.visit is not None:
            self.patrol.leave(subscription.visit)
        self.attendance.end(session, subscription)

    async def listen(self) -> None:
        """Hear all orders from now on: awaited before a client is let in, so that none misses one."""
        await self.nodes.listen()
        await self.patrol.listen()

    @property
    def users(self) -> int:
        """How many users are connected here; all who have no name are one."""
        return len(self._by_user)

    def enter(self, session: Session) -> None:
        """Count a session among those connected."""
        assert session.identity is not None
        self.sessions[session.id] = session
        self._by_user[session.identity.user].add(session)

    def leave(self, session: Session) -> None:
        """Forget a session."""
        if self.sessions.pop(session.id, None) is None or session.identity is None:
            return
        self.calls.end(session)
        others = self._by_user[session.identity.user]
        others.discard(session)
        if not others:
            del self._by_user[session.identity.user]

    def of_user(self, user: str) -> list[Session]:
        """The sessions of one user in this process."""
        return list(self._by_user.get(user, ()))
