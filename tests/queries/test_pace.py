"""When a query is evaluated: once a burst, at once after a pause, less often while changes never stop."""

from __future__ import annotations

from itertools import pairwise

import pytest

from realtime.queries.pace import QUIET_S, Pace

FIRST, SUSTAINED = 0.02, 0.25


def pace() -> Pace:
    return Pace(first_s=FIRST, sustained_s=SUSTAINED)


def starts(changes: list[float], *, took_s: float = 0.001) -> list[float]:
    """When evaluations start, for changes heard at these times."""
    one, times, pending = pace(), [], sorted(changes)
    while pending or one.due is not None:
        due = one.due
        if due is None or (pending and pending[0] <= due):
            one.heard(pending.pop(0))
            continue
        one.started(due)
        times.append(due)
        one.ended(due + took_s)
    return times


def test_one_change_is_evaluated_after_a_moment_of_quiet() -> None:
    assert starts([1.0]) == [pytest.approx(1.0 + QUIET_S)]


def test_a_burst_is_one_evaluation() -> None:
    burst = [1.0 + n * 0.001 for n in range(10)]
    assert starts(burst) == [pytest.approx(burst[-1] + QUIET_S)]


def test_a_burst_that_does_not_end_waits_no_longer_than_the_first_limit() -> None:
    burst = [1.0 + n * 0.001 for n in range(100)]
    assert starts(burst)[0] == pytest.approx(1.0 + FIRST)


def test_twenty_changes_a_second_are_each_evaluated_at_once() -> None:
    changes = [1.0 + n * 0.05 for n in range(40)]
    assert starts(changes) == [pytest.approx(at + QUIET_S) for at in changes]


def test_two_changes_close_together_do_not_slow_down_those_that_follow() -> None:
    changes = [1.0, 1.01, *(1.05 + n * 0.05 for n in range(10))]
    assert starts(changes)[-9:] == [pytest.approx(at + QUIET_S) for at in changes[-9:]]


def test_changes_that_never_stop_are_evaluated_ever_further_apart_up_to_the_limit() -> None:
    changes = [1.0 + n * 0.001 for n in range(3000)]
    times = starts(changes)
    apart = [later - earlier for earlier, later in pairwise(times)]
    assert apart[:5] == [pytest.approx(each) for each in (0.021, 0.04, 0.08, 0.16, 0.25)]
    assert len(times) <= 16


def test_after_a_pause_evaluations_are_close_again() -> None:
    changes = [1.0 + n * 0.001 for n in range(2000)]
    assert starts([*changes, 5.0, 5.05])[-2:] == [pytest.approx(5.0 + QUIET_S), pytest.approx(5.05 + QUIET_S)]


def test_a_slow_query_rests_as_long_as_it_took() -> None:
    first, second = starts([1.0, 1.5], took_s=2.0)
    assert second - first == pytest.approx(4.0)
