"""Numbers, times and sizes as people read them. `static/js/format.js` says the same, digit for digit.

The server writes a page once; the browser goes on in the same words, so that nothing jumps then.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

LARGE = 10**15  # from here on a double no longer holds every integer
SMALL = Decimal("0.0001")


def number_text(value: int | float) -> str:
    """Grouped, with as many decimals as its size deserves: 1,234,567 · 67,123.45 · 1.235 · 0.0123."""
    number = Decimal(value)
    size = abs(number)
    if size >= LARGE or 0 < size < SMALL:
        mantissa, _, exponent = f"{number:.4E}".partition("E")
        return f"{_trimmed(mantissa)}E{int(exponent)}"
    if size >= 100:
        return _trimmed(f"{number:,.2f}")
    if size >= 1:
        return _trimmed(f"{number:,.3f}")
    return _trimmed(f"{number:.{3 - number.adjusted()}f}") if number else "0"


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def span_text(seconds: float) -> str:
    """A span in its largest unit: 3 s, 5 min, 7 h, 12 d."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h"
    return f"{whole // 86_400} d"


def ago(moment: datetime, now: datetime) -> str:
    """How long ago: `now` below a second, else `3 s ago`."""
    seconds = (now - moment).total_seconds()
    return "now" if seconds < 1 else f"{span_text(seconds)} ago"


def until(moment: datetime, now: datetime) -> str:
    """How long until then: `in 12 s`; `now` once it has come."""
    seconds = (moment - now).total_seconds()
    return "now" if seconds < 1 else f"in {span_text(seconds)}"


def size_text(count: int) -> str:
    """Bytes in their largest unit: 312 bytes, 1.5 KB, 2 MB."""
    if count < 1000:
        return f"{count} bytes"
    if count < 1_000_000:
        return f"{number_text(round(count / 1000, 1))} KB"
    return f"{number_text(round(count / 1_000_000, 1))} MB"
