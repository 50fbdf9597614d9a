"""One event of a feed, encoded once per wire format; the same text goes to every socket.

The plain WebSocket and SSE carry the same JSON objects. A value's JSON text is pasted in, never parsed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Generic, Literal, TypeVar

from realtime.feeds.position import Position
from realtime.feeds.publication import Publication, Snapshot, Status, timestamp

from .rows import key_names, row_delta

Payload = TypeVar("Payload", str, bytes)

Kind = Literal["snapshot", "update", "reset", "status", "gone"]


class Event:
    """What a watcher is told. Slugs and epochs need no escaping: their form allows no special character.

    kind       "snapshot" (first value), "update" (a change), "reset" (forget your position; this is the value
               now), "status" (how well the feed is), "gone" (the feed was deleted)
    position   where the watcher stands after this event; None for "status" and "gone"
    value      what the event tells of a value, None for "status" and "gone"
    before     the data of the offset before an update's, None where it is not known
    encoded    what other wire formats made of it, by format: each encodes it once for everybody
    """

    def __init__(
        self,
        kind: Kind,
        feed_id: int,
        slug: str,
        position: Position | None,
        plain: str,
        *,
        value: Publication | Snapshot | None = None,
        before: str | None = None,
    ) -> None:
        self.kind = kind
        self.feed_id = feed_id
        self.slug = slug
        self.position = position
        self.plain = plain
        self.value = value
        self.before = before
        self.encoded: dict[Hashable, bytes | str] = {}

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
        return Event("reset", self.feed_id, self.slug, self.position, plain, value=self.value)

    @cached_property
    def as_rows(self) -> Event | None:
        """This update as the rows that it changes, for one who holds the value before it.

        None where it comes whole to everybody: without the tag `key`, which names the key of its rows, and
        where `row_delta` says so.
        """
        if self.kind != "update" or self.value is None or self.before is None or self.position is None:
            return None
        names = key_names(self.value.tags)
        delta = row_delta(self.before, self.value.data, names) if names else None
        if delta is None:
            return None
        key = json.dumps(names, ensure_ascii=False, separators=(",", ":"))
        at = timestamp(self.value.published_at)
        plain = _told("update", self.slug, self.position, at, f'"key":{key},"rows":{delta}')
        return Event("update", self.feed_id, self.slug, self.position, plain, value=self.value)

    def __repr__(self) -> str:
        return f"<Event {self.kind} {self.slug} {self.position or ''}>"


class ByRows(Generic[Payload]):
    """Renders events for one client that takes rows: an update as rows, if it holds the value before that.

    What it holds is what it was told last over this very connection. A position that it came with does not
    say that it has kept the value; values are skipped, and too old to be told. So the first value of each
    feed comes whole, and so does every one after a hole.

    render   makes a payload of an event; in the order in which they are sent, as far as one feed goes
    """

    def __init__(self, render: Callable[[Event], Payload]) -> None:
        self._render: Callable[[Event], Payload] = render
        self._held: dict[int, Position] = {}

    def __call__(self, event: Event) -> Payload:
        position, value = event.position, event.value
        if position is None or value is None:
            return self._render(event)
        held = self._held.pop(event.feed_id, None)
        if value.published_at is not None:
            self._held[event.feed_id] = position
        if held is not None and (held.epoch, held.offset + 1) == (position.epoch, position.offset):
            return self._render(event.as_rows or event)
        return self._render(event)


def text_frame(text: str) -> bytes:
    """One unfragmented, unmasked text frame (RFC 6455, section 5.2), as servers send them."""
    return _frame(b"\x81", text.encode())


def binary_frame(payload: bytes) -> bytes:
    """As `text_frame`, a binary one."""
    return _frame(b"\x82", payload)


def frame_of(payload: str | bytes) -> bytes:
    """A text frame for text, a binary one for bytes."""
    return text_frame(payload) if isinstance(payload, str) else binary_frame(payload)


def _frame(head: bytes, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return b"%b%c%b" % (head, size, payload)
    if size < 1 << 16:
        return b"%b\x7e%b%b" % (head, size.to_bytes(2, "big"), payload)
    return b"%b\x7f%b%b" % (head, size.to_bytes(8, "big"), payload)


def update_event(slug: str, publication: Publication, before: str | None = None) -> Event:
    """A change of the feed, whose value was `before` if that is known."""
    position = Position(publication.epoch, publication.offset)
    at = timestamp(publication.published_at)
    plain = _value("update", slug, position, at, publication.data)
    return Event("update", publication.feed_id, slug, position, plain, value=publication, before=before)


def value_event(kind: Literal["snapshot", "reset"], snapshot: Snapshot) -> Event:
    """The feed's value now: the first one a watcher gets, or the one after its position was lost."""
    position = Position(snapshot.epoch, snapshot.offset)
    at = timestamp(snapshot.published_at)
    plain = _value(kind, snapshot.slug, position, at, snapshot.data)
    return Event(kind, snapshot.feed_id, snapshot.slug, position, plain, value=snapshot)


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
    return _told(kind, slug, position, at, f'"data":{data}')


def _told(kind: str, slug: str, position: Position, at: str | None, members: str) -> str:
    published_at = f'"{at}"' if at else "null"
    return (
        f'{{"type":"{kind}","feed":"{slug}","epoch":"{position.epoch}","offset":{position.offset},'
        f'"published_at":{published_at},{members}}}'
    )
