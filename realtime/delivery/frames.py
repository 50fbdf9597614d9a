"""One event of a feed, encoded once per wire format; the same text goes to every socket.

The plain WebSocket and SSE carry the same JSON objects. A value's JSON text is pasted in, never parsed.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Literal

from realtime.feeds.position import Position
from realtime.feeds.publication import Publication, Snapshot, Status, timestamp

Kind = Literal["snapshot", "update", "reset", "status", "gone"]


class Event:
    """What a watcher is told. Slugs and epochs need no escaping: their form allows no special character.

    kind       "snapshot" (first value), "update" (a change), "reset" (forget your position; this is the value
               now), "status" (how well the feed is), "gone" (the feed was deleted)
    position   where the watcher stands after this event; None for "status" and "gone"
    """

    def __init__(self, kind: Kind, feed_id: int, slug: str, position: Position | None, plain: str) -> None:
        self.kind = kind
        self.feed_id = feed_id
        self.slug = slug
        self.position = position
        self.plain = plain

    @cached_property
    def sse(self) -> bytes:
        """The event as one Server-Sent Events block, with an id exactly when it has a position."""
        identity = f"id: {self.position}\n" if self.position else ""
        return f"{identity}data: {self.plain}\n\n".encode()

    @cached_property
    def frame(self) -> bytes:
        """The event as a finished WebSocket frame, the same bytes for every socket."""
        return text_frame(self.plain)

    @cached_property
    def as_reset(self) -> Event:
        """This update for one who was not told of those before it; anything else as it is."""
        if self.kind != "update":
            return self
        plain = self.plain.replace('"update"', '"reset"', 1)  # the type comes first
        return Event("reset", self.feed_id, self.slug, self.position, plain)

    def __repr__(self) -> str:
        return f"<Event {self.kind} {self.slug} {self.position or ''}>"


def text_frame(text: str) -> bytes:
    """One unfragmented, unmasked text frame (RFC 6455, section 5.2), as servers send them."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 1 << 16:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), payload)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), payload)


def update_event(slug: str, publication: Publication) -> Event:
    """A change of the feed."""
    position = Position(publication.epoch, publication.offset)
    at = timestamp(publication.published_at)
    return Event(
        "update", publication.feed_id, slug, position, _value("update", slug, position, at, publication.data)
    )


def value_event(kind: Literal["snapshot", "reset"], snapshot: Snapshot) -> Event:
    """The feed's value now: the first one a watcher gets, or the one after its position was lost."""
    position = Position(snapshot.epoch, snapshot.offset)
    at = timestamp(snapshot.published_at)
    return Event(
        kind,
        snapshot.feed_id,
        snapshot.slug,
        position,
        _value(kind, snapshot.slug, position, at, snapshot.data),
    )


def status_event(feed_id: int, slug: str, status: Status) -> Event:
    """How well the feed is."""
    plain = json.dumps(
        {
            "type": "status",
            "feed": slug,
            "state": status.state,
            "last_ok_at": timestamp(status.last_ok_at),
            "next_poll_at": timestamp(status.next_poll_at),
            "error": status.error,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return Event("status", feed_id, slug, None, plain)


def gone_event(feed_id: int, slug: str) -> Event:
    """The feed was deleted; nothing follows."""
    plain = json.dumps(
        {
            "type": "error",
            "feed": slug,
            "code": "gone",
            "message": f"The feed {slug} was deleted.",
            "field": None,
        },
        separators=(",", ":"),
    )
    return Event("gone", feed_id, slug, None, plain)


def _value(kind: str, slug: str, position: Position, at: str | None, data: str) -> str:
    published_at = f'"{at}"' if at else "null"
    return (
        f'{{"type":"{kind}","feed":"{slug}","epoch":"{position.epoch}","offset":{position.offset},'
        f'"published_at":{published_at},"data":{data}}}'
    )
