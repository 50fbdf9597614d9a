"""When to ask again: a source's own grid while all is well, jittered back-off after failures."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

# 2⁶⁴ intervals are past every cap, and floats take no harm from them.
_DOUBLINGS_LIMIT = 64


def next_on_grid(scheduled: datetime, interval_s: float, after: datetime) -> datetime:
    """The first `scheduled + k·interval` later than `after`, k ≥ 1: lateness never moves a source's phase."""
    missed = (after - scheduled).total_seconds() // interval_s
    step = max(1, int(missed) + 1)
    moment = scheduled + timedelta(seconds=step * interval_s)
    while moment <= after:  # rounding to microseconds may land on `after` itself
        step += 1
        moment = scheduled + timedelta(seconds=step * interval_s)
    return moment


def backoff_s(
    failures: int,
    *,
    interval_s: float,
    cap_s: float,
    retry_after_s: float | None = None,
    uniform: Callable[[float, float], float] = random.uniform,
) -> float:
    """Seconds to wait after the `failures`-th failure in a row (≥ 1).

    Exponential with full jitter, from 0 to `interval_s · 2ⁿ` or `cap_s`, so that many failing sources do not
    come back together; but never sooner than the interval, nor than the upstream's Retry-After (at most a
    day, as `fetch` reads it). After https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    ceiling = min(cap_s, interval_s * 2.0 ** min(failures, _DOUBLINGS_LIMIT))
    return max(interval_s, uniform(0.0, ceiling), retry_after_s or 0.0)
