"""The arithmetic of `make bench-live`: what counts as received, as lost, and as evaluated for nothing."""

from __future__ import annotations

import pytest

from benchmarks.live.receipts import Change, Receipts, astray, middle, quantile, reckon
from benchmarks.live.writer import customer_of

MS = 1_000_000


def receipts_of(*told: tuple[int, int, int]) -> Receipts:
    """(watcher, number, milliseconds) of each; read 1 ms after its arrival."""
    receipts = Receipts()
    for watcher, number, at in told:
        receipts.add(watcher, number, at * MS, (at + 1) * MS, (at - 2) * MS)
    return receipts


def test_a_state_stands_for_the_changes_before_it() -> None:
    changes = [Change(7, 0, MS), Change(8, 10 * MS, 11 * MS)]
    found = reckon(changes, receipts_of((0, 7, 5), (0, 8, 15), (1, 8, 25)), watchers=2, parts=0)
    assert (found["deliveries"], found["lost"], found["messages"]) == (4, 0, 3)
    assert (found["p50_ms"], found["p99_ms"]) == (5, 25)
    assert (found["read_p50_ms"], found["read_p99_ms"]) == (6, 26)
    assert (found["first_p50_ms"], found["last_p50_ms"], found["commit_p50_ms"]) == (5, 15, 1)
    assert found["published_p50_ms"] == 3


def test_what_never_comes_is_lost_and_has_no_latency() -> None:
    changes = [Change(7, 0, MS), Change(8, 0, MS)]
    found = reckon(changes, receipts_of((0, 7, 5)), watchers=2, parts=0)
    assert (found["deliveries"], found["lost"], found["p99_ms"]) == (1, 3, 5)


def test_a_change_told_in_parts_is_there_with_the_last_of_them() -> None:
    changes = [Change(7, 0, MS), Change(8, 0, MS)]
    told = receipts_of((0, 7, 5), (0, 7, 9), (0, 8, 12), (1, 7, 4), (1, 7, 6), (1, 8, 7), (1, 8, 8))
    found = reckon(changes, told, watchers=2, parts=2)
    assert (found["deliveries"], found["lost"], found["doubled"]) == (3, 1, 0)
    assert (found["p50_ms"], found["p99_ms"]) == (8, 9)


def test_a_change_of_one_watchers_rows_is_missed_by_nobody_else() -> None:
    changes = [Change(7, 0, MS, watcher=0), Change(8, 0, MS, watcher=1)]
    found = reckon(changes, receipts_of((0, 7, 5), (1, 8, 6)), watchers=3, parts=0)
    assert (found["deliveries"], found["lost"]) == (2, 0)


def test_what_is_told_twice_or_in_the_wrong_order_is_counted() -> None:
    changes = [Change(7, 0, MS), Change(8, 0, MS)]
    found = reckon(changes, receipts_of((0, 8, 5), (0, 7, 6), (0, 8, 7)), watchers=1, parts=0)
    assert (found["doubled"], found["reordered"]) == (1, 1)


@pytest.mark.parametrize(("share", "value"), [(0.50, 50), (0.99, 99), (1.0, 100), (0.005, 1), (0.501, 51)])
def test_a_quantile_is_the_nearest_rank(share: float, value: int) -> None:
    assert quantile([float(each) for each in reversed(range(1, 101))], share) == value
    assert quantile([], share) == 0


def test_rounds_come_to_their_medians_and_to_all_that_was_lost() -> None:
    rows = [{"p50_ms": 4.0, "lost": 1}, {"p50_ms": 9.0, "lost": 0}, {"p50_ms": 5.0, "lost": 2}]
    assert middle(rows) == {"p50_ms": 5.0, "lost": 3}


def test_evaluations_are_held_against_the_changes_query_by_query() -> None:
    before = {1: 10, 2: 4}
    assert astray(before, {1: 12, 2: 5, 3: 1}, [1, 1, 2, 3]) == (0, 0)
    assert astray(before, {1: 12, 2: 5, 3: 1}, [1, 1, 1, 3]) == (1, 1)
    assert astray(before, {1: 10, 2: 4}, [1, 2]) == (0, 2)


def test_every_customer_is_touched_before_one_is_touched_again() -> None:
    assert {customer_of(number, 1_000) for number in range(30_000, 31_000)} == set(range(1, 1_001))
    assert customer_of(12_345, 1) == 1
