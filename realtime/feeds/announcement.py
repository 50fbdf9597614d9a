"""What the broker carries between processes: announcements and signals, hints, never the truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from .publication import Publication, Status, state_of

# A larger value is announced by its position alone and read from the journal by those who want it.
CARRIED_LIMIT_CHARACTERS = 64 * 1024

MESSAGE_TYPE = "feed.announce"
SIGNAL_TYPE = "feed.signal"


@dataclass(frozen=True, slots=True)
class Announcement:
    """New publications of one feed, in order, and its status if that is news.

    `behind` is set instead of publications that are too large to carry: the position to read up to.
    """

    feed_id: int
    publications: tuple[Publication, ...] = ()
    status: Status | None = None
    behind: tuple[str, int] | None = None


class Signal(NamedTuple):
    """A short message for the processes in `group`, finished: what cannot be sent never reaches the queue."""

    group: str
    message: dict[str, Any]

    @classmethod
    def of(cls, group: str, signal: Mapping[str, Any]) -> Signal:
        """Raises KeyError without a "kind", TypeError or ValueError for what JSON cannot say."""
        if not isinstance(signal["kind"], str):
            raise TypeError("kind: a signal's kind is text")
        text = json.dumps(dict(signal), allow_nan=False, separators=(",", ":"))
        return cls(group, {"type": SIGNAL_TYPE, "text": text})


def signal_from_message(message: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind, and the signal. Raises KeyError, TypeError or ValueError for what `Signal.of` never made."""
    signal = json.loads(message["text"])
    if not isinstance(signal, dict):
        raise TypeError("a signal is an object")
    return str(signal["kind"]), signal


def to_message(announcement: Announcement) -> dict[str, Any]:
    """As a channel-layer message: strings, numbers and lists only, as msgpack wants them."""
    publications = announcement.publications
    message: dict[str, Any] = {"type": MESSAGE_TYPE, "feed": announcement.feed_id}
    if sum(len(p.data) + len(p.info) + len(p.tags) for p in publications) > CARRIED_LIMIT_CHARACTERS:
        message["behind"] = [publications[-1].epoch, publications[-1].offset]
    elif publications:
        message["epoch"] = publications[0].epoch
        message["items"] = [
            [p.offset, p.published_at.isoformat(), p.data, p.info, p.tags]
            if p.info or p.tags
            else [p.offset, p.published_at.isoformat(), p.data]
            for p in publications
        ]
    status = announcement.status
    if status is not None:
        message["status"] = [
            status.rev,
            status.state,
            status.last_ok_at.isoformat() if status.last_ok_at else "",
            status.next_poll_at.isoformat() if status.next_poll_at else "",
            status.error,
        ]
    return message


def from_message(message: dict[str, Any]) -> Announcement:
    """Back from the layer. Raises KeyError, TypeError or ValueError for what `to_message` never made."""
    feed_id = int(message["feed"])
    publications = tuple(
        Publication(feed_id, message["epoch"], int(offset), datetime.fromisoformat(at), data, *info_and_tags)
        for offset, at, data, *info_and_tags in message.get("items", ())
    )
    behind = message.get("behind")
    return Announcement(
        feed_id,
        publications,
        _status(message["status"]) if "status" in message else None,
        (str(behind[0]), int(behind[1])) if behind else None,
    )


def group_of(feed_id: int) -> str:
    """The layer's group for one feed."""
    return f"feed.{feed_id}"


def addressed(each: Announcement | Signal) -> tuple[str, dict[str, Any]]:
    """The group to send it to, and the message as the layer wants it."""
    if isinstance(each, Signal):
        return each.group, each.message
    return group_of(each.feed_id), to_message(each)


def _status(fields: list[Any]) -> Status:
    rev, state, last_ok_at, next_poll_at, error = fields
    return Status(int(rev), state_of(state), _moment(last_ok_at), _moment(next_poll_at), error)


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
