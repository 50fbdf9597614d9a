from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from pytest_django import DjangoAssertNumQueries, Settings

from realtime.feeds.models import Feed
from realtime.sources.models import Source
from realtime.sources.schedule import Claim, Outcome, claim_due, next_due, put_back, settle
from tests.sources.rows import make_source

pytestmark = pytest.mark.django_db

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def claim_one(now: datetime, *, engine: str = "one", horizon_s: float = 0) -> Claim:
    (claim,) = claim_due(now, engine=engine, limit=10, horizon_s=horizon_s)
    return claim


def success(claim: Claim, *, etag: str = "") -> Outcome:
    return Outcome(claim, claim.next_poll_at, 0, polled_at=at(1), duration_ms=12.5, etag=etag)


def test_only_enabled_sources_whose_time_has_come_are_claimed_oldest_first() -> None:
    make_source("later", next_poll_at=at(1))
    make_source("due", next_poll_at=at(-1))
    make_source("older", next_poll_at=at(-5))
    make_source("off", next_poll_at=at(-9), enabled=False)
    assert [claim.slug for claim in claim_due(NOON, engine="one", limit=10)] == ["older", "due"]


def test_a_source_that_was_never_scheduled_is_due_at_once() -> None:
    make_source(next_poll_at=None)
    assert next_due(NOON) == NOON
    claim = claim_one(NOON)
    assert (claim.scheduled, claim.next_poll_at) == (NOON, at(10))


def test_the_limit_leaves_the_rest_for_the_next_call() -> None:
    for number in range(3):
        make_source(f"s{number}", next_poll_at=at(-number))
    assert [claim.slug for claim in claim_due(NOON, engine="one", limit=2)] == ["s2", "s1"]
    assert [claim.slug for claim in claim_due(NOON, engine="one", limit=2)] == ["s0"]


def test_a_claim_carries_what_the_poll_needs() -> None:
    source = make_source(
        next_poll_at=NOON,
        expressions=("a", "b"),
        method="POST",
        body="{}",
        headers={"x-one": "1"},
        secret_headers={"x-two": "2"},
        failures=3,
    )
    claim = claim_one(NOON)
    assert claim.source_id == source.pk
    assert (claim.request.method, claim.request.body) == ("POST", "{}")
    assert claim.request.headers == {"x-one": "1", "x-two": "2"}
    assert [target.expression for target in claim.targets] == ["a", "b"]
    assert (claim.failures, claim.refused) == (3, "")
    assert "x-two" not in repr(claim)


def test_a_claim_ahead_of_time_keeps_its_time() -> None:
    make_source(next_poll_at=at(0.5))
    assert claim_due(NOON, engine="one", limit=1, horizon_s=0.4) == []
    claim = claim_one(NOON, horizon_s=0.6)
    assert (claim.scheduled, claim.next_poll_at, claim.until) == (at(0.5), at(10.5), at(0.5 + 5 + 5))


@pytest.mark.parametrize(("late_s", "next_s"), [(0.1, 10), (4.9, 10), (5.1, 20), (123, 130), (127, 140)])
def test_a_late_poll_keeps_the_grid_and_is_not_followed_by_another_at_once(
    late_s: float, next_s: float
) -> None:
    make_source(next_poll_at=NOON)
    assert claim_one(at(late_s)).next_poll_at == at(next_s)


def test_a_claimed_source_is_nobody_elses_until_the_claim_runs_out() -> None:
    make_source(next_poll_at=NOON, interval_s=2)
    claim_one(NOON, engine="killed")
    assert claim_due(at(9.9), engine="two", limit=10) == []
    assert next_due(at(9.9)) is None
    assert claim_one(at(10.1), engine="two").slug == "quotes"


def test_a_dead_engine_loses_only_the_poll_under_way() -> None:
    make_source(next_poll_at=NOON)
    claim_one(NOON, engine="killed")
    assert claim_due(at(9.9), engine="two", limit=10) == []
    assert claim_one(at(10.1), engine="two").scheduled == at(10)


def test_settling_releases_the_claim_and_keeps_the_outcome() -> None:
    source = make_source(next_poll_at=NOON, failures=2, last_error="before")
    settle([success(claim_one(NOON), etag='"v1"')], engine="one")
    source.refresh_from_db()
    assert (source.claimed_by, source.claimed_until) == ("", None)
    assert (source.next_poll_at, source.failures, source.last_error) == (at(10), 0, "")
    assert (source.etag, source.last_polled_at, source.last_duration_ms) == ('"v1"', at(1), 12.5)


def test_a_poll_that_was_not_made_is_due_again_and_records_nothing() -> None:
    source = make_source(next_poll_at=NOON, failures=2, etag='"v1"', last_modified="yesterday")
    Feed.objects.update(last_ok_at=at(-10))
    settle([put_back(claim_one(NOON))], engine="one")
    source.refresh_from_db()
    assert (source.next_poll_at, source.claimed_until, source.failures) == (NOON, None, 2)
    assert (source.etag, source.last_modified, source.last_polled_at) == ('"v1"', "yesterday", None)


def test_what_was_fetched_but_not_settled_is_asked_for_unconditionally() -> None:
    source = make_source(next_poll_at=NOON, etag='"v1"', last_modified="yesterday")
    Feed.objects.update(last_ok_at=at(-10))
    killed = claim_one(NOON, engine="killed")
    assert (killed.request.etag, killed.request.last_modified) == ('"v1"', "yesterday")
    again = claim_one(at(11))
    assert (again.request.etag, again.request.last_modified) == ("", "")
    settle([success(again, etag='"v2"')], engine="one")
    claim = claim_one(at(30))
    assert claim.request.etag == '"v2"'
    settle([put_back(claim, fetched=True)], engine="one")
    source.refresh_from_db()
    assert (source.claimed_by, source.etag) == ("", "")


def test_a_claim_that_another_engine_took_over_is_not_settled() -> None:
    source = make_source(next_poll_at=NOON)
    lost = claim_one(NOON, engine="one")
    claim_one(at(11), engine="two")
    settle([success(lost, etag='"late"')], engine="one")
    source.refresh_from_db()
    assert (source.claimed_by, source.etag) == ("two", "")


def test_an_own_older_claim_is_not_settled_either() -> None:
    source = make_source(next_poll_at=NOON)
    lost = claim_one(NOON)
    held = claim_one(at(11))
    settle([success(lost)], engine="one")
    source.refresh_from_db()
    assert source.claimed_until == held.until


@pytest.mark.parametrize("outcome", [lambda claim: success(claim, etag='"old"'), put_back])
def test_a_source_changed_during_the_poll_keeps_its_new_schedule_and_no_old_etag(
    outcome: Callable[[Claim], Outcome],
) -> None:
    source = make_source(next_poll_at=NOON, etag='"older"')
    Feed.objects.update(last_ok_at=at(-10))
    claim = claim_one(NOON)
    Source.objects.filter(pk=source.pk).update(next_poll_at=at(0.5), etag="")
    settle([outcome(claim)], engine="one")
    source.refresh_from_db()
    assert (source.next_poll_at, source.etag, source.claimed_until) == (at(0.5), "", None)
    assert claim_one(at(1)).scheduled == at(0.5)


def test_unreadable_secrets_fail_alone_with_the_reason(settings: Settings) -> None:
    make_source("sealed", next_poll_at=at(-2), secret_headers={"authorization": "Bearer x"})
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    make_source("open", next_poll_at=at(-1))
    sealed, other = claim_due(NOON, engine="one", limit=10)
    assert "HEADWATER_FIELD_KEYS" in sealed.refused
    assert (other.slug, other.refused) == ("open", "")


def test_rows_past_every_validator_do_not_stop_the_others() -> None:
    make_source("zero", next_poll_at=at(-3), interval_s=0, timeout_s=-1)
    make_source("endless", next_poll_at=at(-2), interval_s=1e300, timeout_s=1e300)
    make_source("listed", next_poll_at=at(-1), headers=["x"])
    claims = claim_due(NOON, engine="one", limit=10)
    assert [claim.slug for claim in claims] == ["zero", "endless", "listed"]
    assert "headers" in claims[2].refused


def test_a_conditional_request_needs_every_feed_to_have_a_value() -> None:
    make_source(next_poll_at=NOON, etag='"v1"', last_modified="Sat, 01 Mar 2025 12:00:00 GMT")
    Feed.objects.update(last_ok_at=NOON)
    claim = claim_one(NOON)
    assert (claim.request.etag, claim.request.last_modified) == ('"v1"', "Sat, 01 Mar 2025 12:00:00 GMT")
    settle([put_back(claim)], engine="one")
    Feed.objects.update(last_ok_at=None)
    assert claim_one(NOON).request.etag == ""


def test_next_due_is_the_first_free_time() -> None:
    assert next_due(NOON) is None
    make_source("a", next_poll_at=at(7))
    make_source("b", next_poll_at=at(3))
    make_source("off", next_poll_at=at(1), enabled=False)
    assert next_due(NOON) == at(3)


def test_many_claims_take_as_many_queries_as_one(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(50):
        make_source(f"s{number}", next_poll_at=NOON)
    with django_assert_num_queries(5):
        claims = claim_due(NOON, engine="one", limit=500)
    assert len(claims) == 50
