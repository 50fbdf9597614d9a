"""What a command comes to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .tokens import ttl_s


class Answer(NamedTuple):
    """A reply's content, and what happens in the same turn of the loop after it was written."""

    result: Mapping[str, Any]
    then: Callable[[], None] | None = None


def expiry(expires_at: float | None) -> dict[str, Any]:
    """How a result tells when something ends (seconds since 1970; None: never)."""
    return {} if expires_at is None else {"expires": True, "ttl": ttl_s(expires_at, time.time())}
