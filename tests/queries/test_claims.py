"""Which engine fills what is wanted: one for each query, another when it dies, none when nobody watches."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from realtime.feeds.models import Demand, Feed
from realtime.queries import claims
from realtime.queries.claims import CLAIM_S, Note, hold, needs_hold, release, save_notes

pytestmark = pytest.mark.django_db

NOW = timezone.now()
LATER = NOW + timedelta(seconds=CLAIM_S + 1)
AN_HOUR = timedelta(hours=1)


def wanted(slug: str, *, until: timedelta = AN_HOUR) -> Demand:
    feed = Feed.objects.create(slug=slug, title=slug, kind=Feed.Kind.QUERY)
    return Demand.objects.create(feed=feed, base=slug.partition("#")[0], wanted_until=NOW + until)


def held(engine: str, now: object = NOW) -> set[str]:
    mine, _ = hold(engine, now)  # type: ignore[arg-type]
    return {each.slug for each in mine}


def test_what_is_wanted_is_held_by_one_engine() -> None:
    wanted("query:a")
    assert held("one") == {"query:a"}
    assert not needs_hold("two", NOW)
    assert held("two") == set()


def test_feeds_of_one_base_are_held_by_the_same_engine() -> None:
    wanted("query:a?x=1")
    assert held("one") == {"query:a?x=1"}
    wanted("query:a?x=1#t.html:1:00000000")
    assert held("two") == set()
    assert held("one") == {"query:a?x=1", "query:a?x=1#t.html:1:00000000"}


def test_no_base_is_claimed_in_part_because_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CLAIM_LIMIT", 2)
    for slug in ("query:a", "query:b", "query:b#t.html:1:00000000"):
        wanted(slug)
    assert held("one") == {"query:a"}
    assert held("two") == {"query:b", "query:b#t.html:1:00000000"}


def test_what_was_claimed_just_now_is_new() -> None:
    wanted("query:a")
    assert [each.is_new for each in hold("one", NOW)[0]] == [True]
    assert [each.is_new for each in hold("one", NOW)[0]] == [False]
    release("one")
    assert [each.is_new for each in hold("one", NOW)[0]] == [True]


def test_what_a_dead_engine_held_is_free_once_its_claim_is_over_and_no_more_counts_as_kept() -> None:
    demand = wanted("query:a")
    held("dead")
    save_notes("dead", [Note(demand.pk, kept=True, evaluations=1, unheard=0, duration_ms=1, reason="")])
    assert held("other", LATER) == {"query:a"}
    demand.refresh_from_db()
    assert (demand.engine, demand.kept) == ("other", False)


def test_a_living_engine_renews_its_claims_in_time() -> None:
    wanted("query:a")
    held("one")
    soon = NOW + timedelta(seconds=CLAIM_S / 2)
    assert needs_hold("one", soon)
    held("one", soon)
    assert held("two", NOW + timedelta(seconds=CLAIM_S + 0.1)) == set()


def test_what_nobody_wants_any_more_is_let_go() -> None:
    demand = wanted("query:a", until=timedelta(seconds=1))
    held("one")
    mine, unwanted = hold("one", NOW + timedelta(seconds=2))
    assert (mine, [each.slug for each in unwanted]) == ([], ["query:a"])
    demand.refresh_from_db()
    assert (demand.engine, demand.claimed_until, demand.kept) == ("", None, False)
    assert held("two", NOW + timedelta(seconds=2)) == set()


def test_what_an_engine_releases_another_may_take_at_once() -> None:
    wanted("query:a")
    held("one")
    release("one")
    assert held("two") == {"query:a"}


def test_notes_add_up_and_only_the_holder_may_make_them() -> None:
    demand = wanted("query:a")
    held("one")
    mine = Note(demand.pk, kept=True, evaluations=2, unheard=1, duration_ms=3.5, reason="why")
    save_notes("one", [mine])
    save_notes("one", [mine])
    save_notes("two", [mine])
    demand.refresh_from_db()
    assert (demand.kept, demand.evaluations, demand.unheard) == (True, 4, 2)
    assert (demand.duration_ms, demand.reason) == (3.5, "why")


def test_a_note_of_an_evaluation_that_is_not_committed_yet_takes_nothing_back() -> None:
    demand = wanted("query:a")
    held("one")
    filled = Note(demand.pk, kept=True, evaluations=1, unheard=0, duration_ms=1, reason="")
    save_notes("one", [filled])
    save_notes("one", [Note(demand.pk, kept=False, evaluations=1, unheard=0, duration_ms=2, reason="")])
    demand.refresh_from_db()
    assert (demand.kept, demand.evaluations, demand.duration_ms) == (True, 2, 2)


def test_two_notes_of_one_feed_are_one_with_the_counts_of_both_and_the_later_findings() -> None:
    first = Note(1, kept=True, evaluations=2, unheard=1, duration_ms=9, reason="why")
    later = Note(1, kept=False, evaluations=3, unheard=1, duration_ms=4, reason="")
    both = Note(1, kept=True, evaluations=5, unheard=2, duration_ms=4, reason="")
    assert first.and_then(later) == both


def test_what_is_held_and_what_is_let_go_know_when_their_value_was_last_true() -> None:
    demand = wanted("query:a", until=timedelta(seconds=1))
    Feed.objects.filter(pk=demand.pk).update(last_ok_at=NOW)
    (mine,), _ = hold("one", NOW)
    _, (let_go,) = hold("one", NOW + timedelta(seconds=2))
    assert (mine.last_ok_at, let_go.last_ok_at) == (NOW, NOW)
