"""Publishes at a steady rate to one kind of server; prints the last number. Runs beside the load client."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

Publish = Callable[[dict[str, Any]], Awaitable[None]]


@asynccontextmanager
async def to_headwater(target: str) -> AsyncIterator[Publish]:
    """As another Headwater process does: commit to the journal, announce over Redis."""
    import django

    django.setup()
    from realtime.feeds.models import Feed
    from realtime.feeds.runtime import Feeds

    feeds = Feeds.current()
    ids = await feeds.database.read(lambda: dict(Feed.objects.values_list("slug", "pk")))

    async def publish(message: dict[str, Any]) -> None:
        await feeds.store.publish(ids[target.format(n=message["f"])], message)

    yield publish
    await feeds.aclose()


@asynccontextmanager
async def to_http(target: str) -> AsyncIterator[Publish]:
    """A POST to `target`; with TOKEN as Headwater's API wants it, else the message alone as Nchan does."""
    import httpx

    token = os.environ.get("TOKEN")
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"} if token else {}) as client:

        async def publish(message: dict[str, Any]) -> None:
            (await client.post(target, json={"data": message} if token else message)).raise_for_status()

        yield publish


@asynccontextmanager
async def to_group(target: str) -> AsyncIterator[Publish]:
    """`group_send`, over the layer that the stock consumers use."""
    from channels.layers import get_channel_layer

    from benchmarks.fanout import stock  # noqa: F401 - its settings

    layer = get_channel_layer()
    assert layer is not None

    async def publish(message: dict[str, Any]) -> None:
        await layer.group_send(target, {"type": "feed.update", "text": json.dumps(message)})

    yield publish
    await layer.flush() if os.environ["STOCK_LAYER"] == "pubsub" else None


@asynccontextmanager
async def to_nats(target: str) -> AsyncIterator[Publish]:
    """PUB over NATS' own protocol."""
    _, writer = await asyncio.open_connection("127.0.0.1", int(target))
    writer.write(b'CONNECT {"verbose": false}\r\n')

    async def publish(message: dict[str, Any]) -> None:
        payload = json.dumps(message).encode()
        writer.write(b"PUB x %d\r\n%b\r\n" % (len(payload), payload))
        await writer.drain()

    yield publish
    writer.close()


KINDS = {"headwater": to_headwater, "http": to_http, "group": to_group, "nats": to_nats}


async def publish_all(kind: str, target: str, rate: float, seconds: float, size: int, feeds: int) -> int:
    """Publish `size` bytes of JSON to every feed at once, `rate` times a second; the last number."""
    count = int(rate * seconds)
    async with AsyncExitStack() as stack:
        publish = await stack.enter_async_context(KINDS[kind](target))
        begin = time.monotonic() + 0.2
        for number in range(count):
            await asyncio.sleep(begin + number / rate - time.monotonic())
            await asyncio.gather(*(publish(_message(number, feed, size)) for feed in range(feeds)))
    return count - 1


def _message(number: int, feed: int, size: int) -> dict[str, Any]:
    message = {"sn": number, "ts": time.monotonic_ns(), "f": feed, "pad": ""}
    message["pad"] = "x" * (size - len(json.dumps(message)))
    return message


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("target")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--feeds", type=int, default=1)
    parser.add_argument("--core", type=int, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    what = (options.kind, options.target, options.rate, options.seconds, options.bytes, options.feeds)
    print(asyncio.run(publish_all(*what)))


if __name__ == "__main__":
    main()
