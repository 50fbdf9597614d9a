"""What the broker carries from the process that committed to those that watch: a hint, never the truth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .publication import Publication, Status, state_of

# A larger value is announced by its position alone and read from the journal by those who want it.
CARRIED_LIMIT_CHARACTERS = 64 * 1024

MESSAGE_TYPE = "feed.announce"


@dataclass(frozen=True, slots=True)
class Announcement:
    """New publications of one feed, in order, and its status if that is news.

    `behind` is set instead of publications that are too large to carry: the position to read up to.
    """

    feed_id: int
    publications: tuple[Publication, ...] = ()
    status: Status | None = None
    behind: tuple[str, int] | None = None


def to_message(announcement: Announcement) -> dict[str, Any]:
    """As a channel-layer message: strings, numbers and lists only, as msgpack wants them."""
    publications = announcement.publications
    message: dict[str, Any] = {"type": MESSAGE_TYPE, "feed": announcement.feed_id}
    if sum(len(publication.data) for publication in publications) > CARRIED_LIMIT_CHARACTERS:
        message["behind"] = [publications[-1].epoch, publications[-1].offset]
    elif publications:
        message["epoch"] = publications[0].epoch
        message["items"] = [[p.offset, p.published_at.isoformat(), p.data] for p in publications]
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
        Publication(feed_id, message["epoch"], int(offset), datetime.fromisoformat(at), data)
        for offset, at, data in message.get("items", ())
    )
    behind = message.get("behind")
    return Announcement(
        feed_id,
        publications,
        _status(message["status"]) if "status" in message else None,
        (str(behind[0]), int(behind[1])) if behind else None,
    )


def _status(fields: list[Any]) -> Status:
    rev, state, last_ok_at, next_poll_at, error = fields
    return Status(int(rev), state_of(state), _moment(last_ok_at), _moment(next_poll_at), error)


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
