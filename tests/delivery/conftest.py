"""A loop with feeds for tests of the doors, and clients that need no server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator

# Here, not where it is needed: it sets logging up, which would take a running test's `caplog` away.
from project.asgi import application
from realtime.delivery.watching import Delivery
from realtime.feeds.catalog import create_feed
from realtime.feeds.runtime import Feeds
from realtime.feeds.store import publication_write

HOST = (b"host", b"testserver")


class House:
    """Feeds, delivery and whoever came in by a communicator, on this test's loop."""

    def __init__(self) -> None:
        self.feeds = Feeds.current()
        self.delivery = Delivery.current()
        self.sockets: list[Socket] = []
        self._ids: dict[str, int] = {}

    async def add_feed(self, slug: str, *values: Any, public: bool = True, **rules: Any) -> int:
        """A push feed with these publications; its id."""
        ref = await self.feeds.database.write(lambda: create_feed(slug, public=public, **rules))
        self._ids[slug] = ref.id
        for value in values:
            await self.publish(slug, value)
        return ref.id

    async def publish(self, slug: str, value: Any, *, tags: str = "") -> str:
        """Publish; the position as text."""
        write = replace(publication_write(self._ids[slug], value), tags=tags)
        return str((await self.feeds.store.write(write)).position)

    async def connect(self, path: str, *headers: tuple[bytes, bytes]) -> Socket:
        """A WebSocket that has been accepted."""
        socket = Socket(path, [HOST, *headers])
        self.sockets.append(socket)
        await socket.open()
        return socket

    async def aclose(self) -> None:
        for socket in self.sockets:
            await socket.leave()
        await self.delivery.aclose()
        await self.feeds.aclose()


class Socket:
    """A WebSocket client of the application without a server."""

    def __init__(self, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        self._inner = WebsocketCommunicator(application, path, headers)

    async def open(self) -> None:
        accepted, _ = await self._inner.connect()
        assert accepted

    async def send(self, text: str | bytes) -> None:
        await (
            self._inner.send_to(text_data=text)
            if isinstance(text, str)
            else self._inner.send_to(bytes_data=text)
        )

    async def read_text(self) -> str:
        """The next message as it came."""
        return str(await self._inner.receive_from(timeout=20))

    async def read(self) -> dict[str, Any]:
        """The next message."""
        content: dict[str, Any] = json.loads(await self.read_text())
        return content

    async def closed(self) -> int:
        """The code of the close that comes next."""
        output = await self._inner.receive_output(timeout=20)
        assert output["type"] == "websocket.close"
        return int(output["code"])

    async def read_values(self, count: int) -> list[Any]:
        """The data of the next `count` messages that have any."""
        values: list[Any] = []
        while len(values) < count:
            message = await self.read()
            if "data" in message:
                values.append(message["data"])
        return values

    async def closing(self) -> tuple[dict[str, Any], int]:
        """The error and the close code that come next; statuses and values before them are skipped."""
        message = await self.read()
        while message["type"] != "error":
            message = await self.read()
        return message, await self.closed()

    async def is_silent(self) -> bool:
        return bool(await self._inner.receive_nothing())

    async def leave(self) -> None:
        # After a time-out the application is cancelled. That test has failed; its neighbours must not.
        with contextlib.suppress(asyncio.CancelledError):
            await self._inner.disconnect(timeout=20)


@pytest.fixture
async def house(transactional_db: None) -> AsyncIterator[House]:
    opened = House()
    yield opened
    await opened.aclose()
