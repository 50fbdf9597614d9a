"""Plain text: one string, without the blanks around it."""

from __future__ import annotations

from .charset import decode


def read_text(body: bytes, content_type: str) -> str:
    """The whole answer. JMESPath's `to_number(@)` makes a number of it."""
    return decode(body, content_type).strip()
