"""Publishing to a channel, for clients and for the server API."""

from __future__ import annotations

from django.utils import timezone

from realtime.conf import conf
from realtime.errors import TooLarge
from realtime.feeds.catalog import check_publishable
from realtime.feeds.channels import Channel
from realtime.feeds.models import Feed
from realtime.feeds.position import Position
from realtime.feeds.store import Health, Store, Write


async def write(
    store: Store, channel: Channel, data: str, *, info: str = "", tags: str = "", key: str = ""
) -> Position:
    """Commit this JSON text; where the channel stands then, or stood when the same key was used.

    In a channel every publication counts, in a feed one that changes its value. See `Write` for the rest.
    Raises Conflict for a feed that something here fills, TooLarge, NotFound when it is gone, and Unavailable.
    """
    check_publishable(channel.feed.kind, field="channel")
    limit = conf().value_limit_bytes
    if len(data.encode()) > limit:
        raise TooLarge(f"data: the limit is {limit:,} bytes.", field="data")
    wanted = Write(
        channel.feed.id,
        data,
        Health("fresh", timezone.now(), None),
        info=info,
        tags=tags,
        always=channel.feed.kind == Feed.Kind.CHANNEL,
        key=key,
    )
    return (await store.write(wanted)).position
