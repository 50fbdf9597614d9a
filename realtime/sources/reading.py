"""From an answer's bytes to the JSON text that each feed is to hold."""

from __future__ import annotations

from collections.abc import Sequence

from realtime.errors import ExtractError, HeadwaterError
from realtime.feeds.publication import encode_data

from .extract import parse, pick

# A value as JSON text, why there is none, or None where the answer was "not modified".
Reading = str | HeadwaterError | None


def read_values(
    body: bytes, form: str, content_type: str, expressions: Sequence[str], limit_bytes: int
) -> list[Reading]:
    """One reading per expression, in order. A value that is missing, too large or not JSON fails alone."""
    try:
        document = parse(body, form, content_type)
    except ExtractError as error:
        return [error] * len(expressions)
    readings: list[Reading] = []
    for expression in expressions:
        try:
            readings.append(encode_data(pick(document, expression), limit_bytes=limit_bytes))
        except HeadwaterError as error:
            readings.append(error)
    return readings
