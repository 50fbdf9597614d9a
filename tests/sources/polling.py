"""A poller on the test's own loop, and waiting for what it does to the rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from realtime.feeds.database import Database
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds
from realtime.sources.fetch import Fetcher
from realtime.sources.guard import AllowedNetworks
from realtime.sources.models import Source
from realtime.sources.poller import Poller

T = TypeVar("T")
LOOPBACK = AllowedNetworks.parse(["127.0.0.1/32"])


@asynccontextmanager
async def open_feeds() -> AsyncIterator[Feeds]:
    feeds = Feeds()
    try:
        yield feeds
    finally:
        await feeds.aclose()


@asynccontextmanager
async def polling(
    feeds: Feeds, *, transport: httpx.AsyncBaseTransport | None = None, name: str = "one", **limits: int
) -> AsyncIterator[Poller]:
    """A running poller; on leaving it is cancelled, as at shutdown, and must end without another error."""
    fetcher = Fetcher(LOOPBACK, limit_bytes=2_000_000, transport=transport)
    poller = Poller(feeds, fetcher, name=name, **limits)
    task = asyncio.create_task(poller.run())
    try:
        yield poller
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        await fetcher.aclose()
        assert isinstance(ended, asyncio.CancelledError), ended


async def until(
    database: Database, look: Callable[[], T], reached: Callable[[T], bool] = bool, *, timeout_s: float = 30
) -> T:
    """What `look` sees in the database as soon as it is as wanted."""
    seen: Any = None
    try:
        async with asyncio.timeout(timeout_s):
            while not reached(seen := await database.read(look)):  # noqa: ASYNC110 - rows have no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not reached within {timeout_s:g} s; last seen: {seen!r}") from None
    return seen


def feed(slug: str = "quotes-0") -> Callable[[], Feed]:
    return lambda: Feed.objects.get(slug=slug)


def source(slug: str = "quotes") -> Callable[[], Source]:
    return lambda: Source.objects.defer("secret_headers").get(slug=slug)


def values(slug: str = "quotes-0") -> Callable[[], list[str]]:
    """The feed's journal, oldest first."""
    return lambda: list(Feed.objects.get(slug=slug).entries.order_by("offset").values_list("data", flat=True))
