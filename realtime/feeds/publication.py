"""The values that travel from the store to the doors, and the one rule for turning data into JSON text.

A value's JSON text is made once, here; afterwards it is only ever pasted into frames, never parsed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from realtime.errors import BadInput, TooLarge

State = Literal["fresh", "stale", "failing", "paused"]


def state_of(text: str) -> State:
    """The state that a row or a message names. Raises ValueError for any other word."""
    match text:
        case "fresh" | "stale" | "failing" | "paused":
            return text
        case _:
            raise ValueError(f"{text!r} is not a state")


@dataclass(frozen=True, slots=True)
class Publication:
    """One change of a feed. `data` is JSON text; `published_at` is aware and in UTC.

    info   who published it, as the JSON text of an object; empty unless a client did
    tags   what the publisher said about it, as the JSON text of an object of strings; empty: nothing
    """

    feed_id: int
    epoch: str
    offset: int
    published_at: datetime
    data: str
    info: str = ""
    tags: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """How well a feed is. `rev` grows with every change, so that the newer of two is known."""

    rev: int
    state: State
    last_ok_at: datetime | None
    next_poll_at: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A feed as the journal holds it: its newest publication (offset 0, `null`: none yet) and its status."""

    feed_id: int
    slug: str
    epoch: str
    offset: int
    published_at: datetime | None
    data: str
    status: Status
    info: str = ""
    tags: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a feed's stream and status have come, without their content."""

    epoch: str
    offset: int
    status_rev: int


def encode_data(
    value: Any, *, limit_bytes: int, field: str = "data", default: Callable[[Any], Any] | None = None
) -> str:
    """The value as compact JSON text (UTF-8 when encoded, keys in the order given).

    default   a JSON value for one of a foreign type; raises TypeError for what it does not know

    Raises BadInput naming `field` for what JSON cannot say (NaN, infinities, lone surrogates, foreign types,
    nesting past Python's stack), TooLarge past `limit_bytes`.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=default)
        size = len(text.encode())
    except UnicodeEncodeError:
        raise BadInput(
            f"{field}: the text holds half of a surrogate pair, which is not Unicode.", field=field
        ) from None
    except RecursionError:
        raise BadInput(f"{field}: nested too deeply.", field=field) from None
    except (ValueError, TypeError) as error:
        raise BadInput(f"{field}: not a JSON value ({error}).", field=field) from None
    if size > limit_bytes:
        raise TooLarge(f"{field}: {size:,} bytes as JSON; the limit is {limit_bytes:,}.", field=field)
    return text


def decode_data(text: str | bytes, *, field: str = "data") -> Any:
    """Strict JSON: what `encode_data` would write again. Raises BadInput naming `field`.

    Refused although Python's parser takes them: NaN, Infinity and numbers that overflow to them.
    """

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    def parse_float(digits: str) -> float:
        number = float(digits)
        if number in (float("inf"), float("-inf")):
            raise ValueError(f"the number {digits[:20]} is too large")
        return number

    try:
        return json.loads(text, parse_constant=refuse, parse_float=parse_float)
    except RecursionError:
        raise BadInput(f"{field}: nested too deeply.", field=field) from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{field}: not UTF-8 at byte {error.start}.", field=field) from None
    except ValueError as error:
        raise BadInput(f"{field}: not valid JSON ({error}).", field=field) from None


def digest_of(data: str) -> str:
    """What tells an unchanged value from a changed one: SHA-256 of the JSON text, in hex."""
    return hashlib.sha256(data.encode()).hexdigest()


def timestamp(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds and a Z, as every door writes times; None stays None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
