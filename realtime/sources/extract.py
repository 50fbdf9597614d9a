"""From the bytes of an answer to the value that a feed wants. Raises ExtractError, never anything else.

The formats are read in `formats`, the expressions run in `expressions`; all values are plain JSON ones.
Large answers take tens of milliseconds of CPU, so callers on a loop run `parse` and `pick` in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from realtime.errors import ExtractError

from .expressions import compile_expression
from .formats.csv_rows import read_csv
from .formats.json_text import read_json
from .formats.plain import read_text
from .formats.prometheus import read_prometheus
from .formats.syndication import read_syndication

__all__ = ["compile_expression", "parse", "pick"]

_READERS: dict[str, Callable[[bytes, str], Any]] = {
    "json": read_json,
    "csv": read_csv,
    "feed": read_syndication,
    "prometheus": read_prometheus,
    "text": read_text,
}


def parse(body: bytes, format: str, content_type: str = "") -> Any:  # noqa: A002
    """The document in the body. `format` is one of Source.Format; the reader's module tells the shape."""
    reader = _READERS.get(format)
    if reader is None:
        raise ExtractError(f"There is no format {format[:20]!r}.")
    return reader(body, content_type)


def pick(document: Any, expression: str) -> Any:
    """The value that the expression means; empty takes all. Raises ExtractError when it is null.

    An upstream that changed its shape shows as null, which is why null is not a value here. Raises
    BadInput, too, for an expression that was never checked.
    """
    value = compile_expression(expression)(document)
    if value is None:
        if not expression.strip():
            raise ExtractError("The answer is null.")
        shown = expression if len(expression) <= 80 else f"{expression[:79]}…"
        raise ExtractError(
            f"The expression {shown} finds nothing in the answer (null). If that may be, give a fallback: "
            f"… || `0`"
        )
    return value
