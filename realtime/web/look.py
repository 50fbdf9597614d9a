"""How a value and a feed's health look on a page; `static/js/value.js` and `health.js` do the same.

Values only: no HTML is made here, the templates do that and escape it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from realtime.feeds.publication import State, timestamp

from .format import ago, number_text, size_text, until

PAIRS = 4  # of an object's fields, on a tile
SHORT = 48  # characters that still stand in large type
LONGEST = 400
LARGE_BYTES = 16_000  # a value above this is not read for a tile

Shape = Literal["none", "number", "text", "long", "object", "list"]


@dataclass(frozen=True, slots=True)
class Look:
    """A value's shape and its words. `pairs` are an object's first fields, `count` is a list's length."""

    shape: Shape
    text: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    count: str = ""


@dataclass(frozen=True, slots=True)
class HealthLook:
    """A feed's health in words, and the moments behind them for the browser's clock."""

    state: State
    last_ok_at: str
    since: str
    next_poll_at: str
    next_try: str
    error: str


def look_of(value: Any) -> Look:
    """Big numbers, short or long text, an object's first fields, a list's length."""
    if value is None:
        return Look("none", "null")
    if isinstance(value, bool):
        return Look("text", "true" if value else "false")
    if isinstance(value, int | float):
        return Look("number", number_text(value))
    if isinstance(value, str):
        return _text_look(value)
    if isinstance(value, list):
        return Look("list", "item" if len(value) == 1 else "items", count=number_text(len(value)))
    # The telling fields first: plain ones before nested ones, otherwise in their own order.
    fields = sorted(value.items(), key=lambda field: isinstance(field[1], dict | list))
    shown = tuple((name[:60], brief(field)) for name, field in fields[:PAIRS])
    more = len(fields) - len(shown)
    return Look("object", f"and {more} more" if more else "" if shown else "empty object", shown)


def _text_look(text: str) -> Look:
    if not text.strip():
        return Look("none", "empty text")
    return Look("text" if len(text) <= SHORT else "long", text[:LONGEST])


def look_of_nothing(size: int) -> Look:
    """For a feed without a value (`size` 0), or with one that is too large for a tile."""
    return Look("none", f"{size_text(size)} of JSON" if size else "no value yet")


def brief(value: Any) -> str:
    """A field of an object in a few characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return number_text(value)
    if isinstance(value, str):
        return value[:60]
    if isinstance(value, list):
        return f"[{len(value)}]"
    return f"{{{len(value)}}}"


def pretty(value: Any) -> str:
    """A value as a person would write the JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def health_look(
    state: State, last_ok_at: datetime | None, next_poll_at: datetime | None, error: str, now: datetime
) -> HealthLook:
    """The next try is told only where something is wrong: on a healthy feed it is noise."""
    waits = state in ("failing", "stale") and next_poll_at is not None
    return HealthLook(
        state=state,
        last_ok_at=timestamp(last_ok_at) or "",
        since=ago(last_ok_at, now) if last_ok_at else "",
        next_poll_at=timestamp(next_poll_at) or "" if waits else "",
        next_try=until(next_poll_at, now) if waits and next_poll_at else "",
        error=error if state != "fresh" else "",
    )


@dataclass(frozen=True, slots=True)
class Spark:
    """A numeric feed's recent past: `points` for the browser, `line` as SVG points in 100 by 32.

    `points` is JSON: the first moment in seconds, each point's seconds since then, each point's value.
    """

    points: str
    line: str


def spark_of(entries: Sequence[tuple[datetime, float]]) -> Spark:
    """`entries` oldest first. One alone has no line yet."""
    first = entries[0][0]
    times = [round((at - first).total_seconds(), 1) for at, _ in entries]
    values = [value for _, value in entries]
    points = json.dumps([round(first.timestamp(), 1), times, values], separators=(",", ":"))
    if len(entries) < 2:
        return Spark(points, "")
    span, low = times[-1] or 1.0, min(values)
    height = (max(values) - low) or 1.0
    line = " ".join(
        f"{time / span * 100:.1f},{29 - (value - low) / height * 26:.1f}"
        for time, value in zip(times, values, strict=True)
    )
    return Spark(points, line)
