"""Reading a channel's history, for clients and for the server API."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from realtime.feeds.channels import Channel
from realtime.feeds.database import Database
from realtime.feeds.journal import window
from realtime.feeds.position import Position

from .protocol import ErrorCode, ProtocolError
from .wire import publication_of

HISTORY_LIMIT = 300


async def read_history(
    database: Database,
    channel: Channel,
    *,
    limit: int = 0,
    since: Mapping[str, Any] | None = None,
    reverse: bool = False,
    dated: bool = False,
) -> dict[str, Any]:
    """The result of `history`: publications, and where the channel stands.

    limit   0: none; -1: as many as are given at once, `HISTORY_LIMIT`
    since   {"epoch", "offset"}: only what came after it, or before it with `reverse`; without an epoch: of
            the present one

    dated   each with the moment of its publication as a tag: see `wire.Form`

    Raises ProtocolError (107, or 112 for another epoch), NotFound and Unavailable.
    """
    if limit < -1:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "limit: give -1, 0 or a number of publications")
    position = None
    if since is not None:
        position = Position(since.get("epoch", ""), since.get("offset", 0))
        if reverse and position.offset == 0:
            raise ProtocolError(ErrorCode.BAD_REQUEST, "since: nothing is before offset 0")
    rules = channel.rules
    unit = partial(
        window,
        channel.feed.id,
        size=rules.history_size,
        age_s=rules.history_age_s,
        limit=HISTORY_LIMIT if limit == -1 else min(limit, HISTORY_LIMIT),
        since=position,
        reverse=reverse,
    )
    found = await database.read(unit)
    if position is not None and position.epoch not in ("", found.epoch):
        raise ProtocolError(ErrorCode.UNRECOVERABLE_POSITION)
    return {
        "publications": [publication_of(publication, dated=dated) for publication in found.publications],
        "epoch": found.epoch,
        "offset": found.offset,
    }
