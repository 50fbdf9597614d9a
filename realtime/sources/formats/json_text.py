"""JSON, strictly: no NaN, no infinities, no halves of surrogate pairs, nothing past Python's stack."""

from __future__ import annotations

import re
from typing import Any

from realtime.errors import BadInput, ExtractError
from realtime.feeds.publication import decode_data

from .charset import decode

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(body: bytes, content_type: str) -> Any:
    """Any JSON value."""
    text = decode(body, content_type)
    if not text.strip():
        raise ExtractError("The answer is empty, not JSON.")
    if text.lstrip()[0] == "<":
        raise ExtractError("The answer is a web page or XML, not JSON.")
    try:
        value = decode_data(text, field="The answer")
    except BadInput as error:
        raise ExtractError(error.message) from None
    if _SURROGATE_ESCAPE.search(text) is not None:
        _refuse_halves(value)
    return value


def _refuse_halves(value: Any) -> None:
    """Raise for a string that is not Unicode; it could never be sent. Without recursion."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.keys()
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str) and not one.isascii():
            try:
                one.encode()
            except UnicodeEncodeError:
                raise ExtractError(
                    "The answer holds half of a surrogate pair, which is not Unicode."
                ) from None
