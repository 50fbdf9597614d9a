"""The real Python SDK against real `serve` processes: clients that note what happens to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import centrifuge
import jwt

from tests.serving import Server

SECRET = "a secret of at least 32 characters for tests"
NAMESPACES = {
    "": {
        "subscribe": "users",
        "publish": "subscribers",
        "presence": True,
        "join_leave": "forced",
        "history": True,
        "recovery": "forced",
    },
    "quiet": {"subscribe": "users"},
}
# What a server needs for these clients.
SETTINGS = {
    "HEADWATER_NAMESPACES": json.dumps(NAMESPACES),
    "HEADWATER_TOKEN_SECRET": SECRET,
}


class Client(centrifuge.ClientEventHandler, centrifuge.SubscriptionEventHandler):
    """One connection of a user. `events` has what happened, in order: tuples that begin with its kind."""

    def __init__(self, server: Server, user: str = "", **claims: Any) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.id = ""
        self._news = asyncio.Event()
        self._claims = {"sub": user, **claims}
        url = f"{server.ws_url}/connection/websocket"
        self.sdk = centrifuge.Client(url, events=self, get_token=self._token, max_reconnect_delay=0.3)

    async def _token(self) -> str:
        return jwt.encode(self._claims, SECRET)

    async def connect(self) -> Client:
        await self.sdk.connect()
        await self.sdk.ready(timeout=30)
        return self

    async def subscribe(self, channel: str, **options: Any) -> centrifuge.Subscription:
        subscription = self.sdk.new_subscription(channel, events=self, **options)
        await subscription.subscribe()
        await subscription.ready(timeout=30)
        return subscription

    async def until(self, *event: Any) -> tuple[Any, ...]:
        """The first event that begins like this, once it has happened."""
        return await self.when(lambda each: each[: len(event)] == event)

    async def when(self, wanted: Callable[[tuple[Any, ...]], bool]) -> tuple[Any, ...]:
        async with asyncio.timeout(30):
            while True:
                found = next(filter(wanted, self.events), None)
                if found is not None:
                    return found
                self._news.clear()
                await self._news.wait()

    def kinds(self, *kinds: str) -> list[tuple[Any, ...]]:
        """All events of these kinds."""
        return [event for event in self.events if event[0] in kinds]

    def _note(self, *event: Any) -> None:
        self.events.append(event)
        self._news.set()

    # Of the connection, and of what the server subscribed it to, which comes with its channel
    async def on_connecting(self, ctx: Any) -> None:
        self._note("connecting", ctx.code, ctx.reason)

    async def on_connected(self, ctx: Any) -> None:
        self.id = ctx.client
        self._note("connected", ctx.client)

    async def on_disconnected(self, ctx: Any) -> None:
        self._note("disconnected", ctx.code, ctx.reason)

    async def on_subscribed(self, ctx: Any) -> None:
        self._note("subscribed", getattr(ctx, "channel", ""), ctx.data)

    async def on_unsubscribed(self, ctx: Any) -> None:
        self._note("unsubscribed", getattr(ctx, "channel", ""), getattr(ctx, "code", None))

    async def on_publication(self, ctx: Any) -> None:
        self._note("publication", ctx.pub.data, ctx.pub.offset, ctx.pub.tags)

    async def on_join(self, ctx: Any) -> None:
        self._note("join", ctx.info.user, ctx.info.chan_info)

    async def on_leave(self, ctx: Any) -> None:
        self._note("leave", ctx.info.user, ctx.info.chan_info)

    async def on_error(self, ctx: Any) -> None:
        self._note("error", ctx.code, str(ctx.error))
