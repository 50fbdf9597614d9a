"""What an engine knows of one query: a change counts if it may affect what the query reads, at any time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from realtime.queries.changes import EVERYTHING, Change, Read, Reads
from realtime.queries.line import MEANWHILE_LIMIT, NEVER, Line

ORDERS = Read((), {"orders": Reads()})
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
ORDER, CUSTOMER = Change("orders"), Change("customers")


def line() -> Line:
    return Line("query:orders", first_s=0.02, sustained_s=0.25)


def evaluated(one: Line, *meanwhile: Change, at: float = 1.0) -> None:
    one.started(at)
    for change in meanwhile:
        one.hear([change], at + 0.001)
    one.ended(ORDERS, at + 0.002)
    one.evaluate_at = NEVER


def test_a_change_that_affects_what_was_read_is_heard() -> None:
    one = line()
    evaluated(one)
    assert not one.hear([CUSTOMER], 2.0)
    assert one.due == NEVER
    assert one.hear([CUSTOMER, ORDER], 2.0)
    assert one.due < 2.1


def test_what_comes_while_an_evaluation_is_under_way_counts_by_what_it_reads() -> None:
    one = line()
    evaluated(one, CUSTOMER)
    assert one.due == NEVER
    evaluated(one, ORDER, at=2.0)
    assert one.due < 2.1


def test_more_than_can_be_kept_meanwhile_counts_as_everything() -> None:
    one = line()
    evaluated(one, *[CUSTOMER] * (MEANWHILE_LIMIT + 1))
    assert one.due < 1.1


@pytest.mark.parametrize(("change", "heard"), [(ORDER, True), (CUSTOMER, False)])
def test_what_is_heard_while_it_waits_for_its_turn_or_fails_was_heard(change: Change, heard: bool) -> None:
    waiting, failing = line(), line()
    for one in (waiting, failing):
        evaluated(one)
    waiting.pace.running = True
    waiting.hear([change], 2.0)
    waiting.started(2.1)
    failing.started(2.0)
    failing.hear([change], 2.1)
    failing.ended(None, 2.2)
    assert waiting.heard is failing.heard is heard


def test_before_the_first_evaluation_changes_lead_to_none_of_their_own() -> None:
    one = line()
    assert not one.hear([EVERYTHING], 1.0)
    assert one.due == NEVER


def test_while_a_query_fails_changes_do_not_hasten_its_next_try() -> None:
    one = line()
    evaluated(one)
    one.failures, one.evaluate_at = 3, 10.0
    one.hear([ORDER], 2.0)
    assert one.due == 10.0


def test_a_new_feed_of_a_base_is_untold_and_one_that_went_is_forgotten() -> None:
    one = line()
    assert one.hold({1: ""}, {1: None}, set())
    one.told[1] = "[]"
    one.last_ok_at[1] = NOON
    assert not one.untold
    assert one.hold({1: "", 2: "page.html:00000000"}, {1: None, 2: None}, {2})
    assert one.untold
    assert one.last_ok_at == {1: NOON, 2: None}
    assert not one.hold({2: "page.html:00000000"}, {2: NOON}, set())
    assert one.told == {}
    assert one.last_ok_at == {2: None}


def test_what_was_claimed_again_is_to_be_filled_again() -> None:
    one = line()
    one.hold({1: "", 2: "page.html:00000000"}, {1: None, 2: None}, {1, 2})
    one.told.update({1: "[]", 2: "<p>"})
    assert not one.hold({1: "", 2: "page.html:00000000"}, {1: None, 2: None}, set())
    assert not one.untold
    assert one.hold({1: "", 2: "page.html:00000000"}, {1: None, 2: None}, {1})
    assert one.told == {2: "<p>"}
