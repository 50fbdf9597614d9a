"""How every door refuses: one table from errors to HTTP statuses and WebSocket close codes, and their shapes.

A WebSocket is refused by an error message and then a close with the table's code. `docs/doors.md` has the
same table; a test holds it complete.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from realtime.errors import (
    BadInput,
    FeedGone,
    HeadwaterError,
    NotAllowed,
    NotFound,
    NotSignedIn,
    SlowReader,
    TooLarge,
    TooManyFeeds,
    Unavailable,
)

RESTART_CODE = 1012


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row: a class of errors, its HTTP status, its close code, and what the client should do."""

    error: type[HeadwaterError] | None
    status: int
    close: int
    meaning: str
    client: str


INTERNAL = Refusal(None, 500, 4500, "Something went wrong here; it was logged.", "Try again later.")
RESTART = Refusal(
    None, 503, RESTART_CODE, "The server is going down or restarting.", "Reconnect and resume at once."
)
FOUND_BY_CLASS = (
    Refusal(BadInput, 400, 4400, "The address, a parameter or a message is wrong.", "Correct it first."),
    Refusal(
        NotSignedIn,
        401,
        4401,
        "The feed is not public any more, you were signed out, or the token is no good.",
        "Sign in first.",
    ),
    Refusal(NotAllowed, 403, 4403, "Known, but not allowed; or a page of a foreign origin.", "Do not retry."),
    Refusal(
        NotFound,
        404,
        4404,
        "There is no such feed or path, or none that you may know of.",
        "Do not retry, or sign in.",
    ),
    Refusal(SlowReader, 503, 4408, "Too much waited for this client.", "Reconnect and resume."),
    Refusal(FeedGone, 410, 4410, "The feed was deleted while it was watched.", "Do not retry."),
    Refusal(TooLarge, 413, 4413, "A message is larger than the limit.", "Send less."),
    Refusal(TooManyFeeds, 400, 4429, "More feeds than one socket may watch.", "Use several sockets."),
    Refusal(
        Unavailable,
        503,
        4503,
        "A service that is needed does not answer, or too many come in at once.",
        "Try again later.",
    ),
)
TABLE = (RESTART, *FOUND_BY_CLASS, INTERNAL)

_by_class = {row.error: row for row in FOUND_BY_CLASS}


def refusal_of(error: BaseException) -> Refusal:
    """The row of the nearest class; INTERNAL for what the table does not know."""
    for kind in type(error).__mro__:
        row = _by_class.get(kind)
        if row is not None:
            return row
    return INTERNAL


def error_message(error: HeadwaterError) -> str:
    """As sockets and streams send it: `{"type": "error", "code", "message", "field"}`."""
    return _json({"type": "error", "code": error.code, "message": error.message, "field": error.field})


def error_body(error: HeadwaterError) -> bytes:
    """As HTTP answers it: `{"error": {"code", "message"[, "field"]}}`."""
    content = {"code": error.code, "message": error.message}
    if error.field is not None:
        content["field"] = error.field
    return _json({"error": content}).encode()


def internal_error() -> HeadwaterError:
    """What a client is told of an unexpected exception: nothing of its content."""
    error = HeadwaterError("Something went wrong here. It was logged; try again later.")
    error.code = "internal"
    return error


def _json(value: object) -> str:
    # Escaped to ASCII, so that half a surrogate pair in somebody's input cannot break the answer.
    return json.dumps(value, separators=(",", ":"))
