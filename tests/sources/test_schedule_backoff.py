from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from realtime.sources.backoff import backoff_s, next_on_grid

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
INTERVALS = st.floats(1, 86_400)


@given(interval_s=INTERVALS, late_s=st.floats(-10, 10_000_000))
def test_the_next_poll_is_the_first_point_of_the_grid_after_now(interval_s: float, late_s: float) -> None:
    now = NOON + timedelta(seconds=late_s)
    moment = next_on_grid(NOON, interval_s, now)
    steps = (moment - NOON).total_seconds() / interval_s
    assert moment > now
    assert abs(steps - round(steps)) * interval_s < 0.001
    assert round(steps) >= 1
    if late_s > 0:
        assert (moment - now).total_seconds() <= interval_s + 0.001


@given(
    failures=st.integers(1, 10_000),
    interval_s=INTERVALS,
    cap_s=st.floats(1, 100_000),
    retry_after_s=st.none() | st.floats(0, 86_400),
    seed=st.integers(),
)
def test_back_off_lies_between_the_interval_and_the_cap_unless_the_upstream_asks_for_more(
    failures: int, interval_s: float, cap_s: float, retry_after_s: float | None, seed: int
) -> None:
    wait_s = backoff_s(
        failures,
        interval_s=interval_s,
        cap_s=cap_s,
        retry_after_s=retry_after_s,
        uniform=random.Random(seed).uniform,
    )
    assert wait_s >= interval_s
    assert wait_s >= (retry_after_s or 0)
    assert wait_s <= max(interval_s, cap_s, retry_after_s or 0)


def test_the_ceiling_of_the_back_off_doubles_with_each_failure() -> None:
    waits = [backoff_s(n, interval_s=2, cap_s=60, uniform=lambda low, high: high) for n in range(1, 8)]
    assert waits == [4, 8, 16, 32, 60, 60, 60]


def test_the_jitter_is_full() -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return low

    assert backoff_s(3, interval_s=2, cap_s=60, uniform=uniform) == 2
    assert drawn == [(0.0, 16.0)]
