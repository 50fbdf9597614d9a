"""Prometheus' text format, by the client library's own parser.

One shape for all samples: `{"<name>": [{"labels": {…}, "value": 1.5}, …], …}`. So `load[0].value`, or
`jobs_total[?labels.queue=='mail'] | [0].value`. NaN and the infinities are null, time stamps are left out.
The parser calls every sample of a counter `…_total`, as OpenMetrics does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TextIO, cast

from prometheus_client.parser import text_fd_to_metric_families

from realtime.errors import ExtractError

from .charset import decode

LINE_LIMIT = 8192  # the parser takes the square of a line's length
SAMPLE_LIMIT = 50_000


class _Lines:
    """The lines, with the number of the one that the parser took last."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._text.split("\n"):
            self.number += 1
            if len(line) > LINE_LIMIT:
                raise ExtractError(f"Line {self.number} has more than {LINE_LIMIT:,} characters.")
            yield line


def read_prometheus(body: bytes, content_type: str) -> dict[str, list[dict[str, Any]]]:
    """All samples by name. Raises ExtractError with the line that is not in the format."""
    lines = _Lines(decode(body, content_type))
    found: dict[str, list[dict[str, Any]]] = {}
    count = 0
    try:
        for family in text_fd_to_metric_families(cast("TextIO", lines)):
            for sample in family.samples:
                count += 1
                if count > SAMPLE_LIMIT:
                    raise ExtractError(f"The answer has more than {SAMPLE_LIMIT:,} samples.")
                value = sample.value if math.isfinite(sample.value) else None
                found.setdefault(sample.name, []).append({"labels": dict(sample.labels), "value": value})
    except (ValueError, IndexError, KeyError, OverflowError):
        raise ExtractError(f"Line {lines.number} is not Prometheus text.") from None
    if not found:
        raise ExtractError("The answer holds no Prometheus samples.")
    return found
