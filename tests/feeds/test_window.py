"""The window of a journal that SDK clients see: bounded by number and age, honest about what is gone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import QuerySet
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import NotFound
from realtime.feeds import journal
from realtime.feeds.journal import Window, window
from realtime.feeds.models import Feed, JournalEntry
from realtime.feeds.position import Position
from realtime.feeds.publication import Publication
from realtime.feeds.store import Write, commit

pytestmark = pytest.mark.django_db


def make_feed(top: int, ages_s: list[int]) -> Feed:
    """A feed that stands at `top`, whose newest entries are that old, oldest first."""
    Feed.objects.all().delete()
    feed = Feed.objects.create(slug="feed", title="feed", offset=top, epoch="epoch")
    now = timezone.now()
    JournalEntry.objects.bulk_create(
        JournalEntry(feed=feed, offset=offset, published_at=now - timedelta(seconds=age), data=str(offset))
        for offset, age in enumerate(ages_s, top - len(ages_s) + 1)
    )
    return feed


def offsets(read: Window) -> list[int]:
    return [publication.offset for publication in read.publications]


@given(
    # In minutes; half of one lies between an age and the limit, because the clock goes on meanwhile.
    ages=st.lists(st.integers(0, 12), max_size=12).map(lambda ages: sorted(ages, reverse=True)),
    trimmed=st.integers(0, 5),
    size=st.integers(1, 15),
    age=st.integers(0, 12),
    limit=st.integers(0, 15),
    since=st.none() | st.integers(0, 20),
    epoch=st.sampled_from(["epoch", "", "other"]),
    reverse=st.booleans(),
)
def test_a_window_is_what_a_simple_model_says(
    ages: list[int],
    trimmed: int,
    size: int,
    age: int,
    limit: int,
    since: int | None,
    epoch: str,
    reverse: bool,
) -> None:
    top = trimmed + len(ages)
    feed = make_feed(top, [60 * each for each in ages])
    read = window(
        feed.pk,
        size=size,
        age_s=60 * age + 30,
        limit=limit,
        since=None if since is None else Position(epoch, since),
        reverse=reverse,
    )
    shown = [offset for offset, each in enumerate(ages, trimmed + 1) if each <= age and offset > top - size]
    if since is not None and epoch == "other":
        expected = []
    elif reverse:
        expected = [offset for offset in shown[::-1] if since is None or offset < since][:limit]
    else:
        expected = [offset for offset in shown if since is None or offset > since][:limit]
    assert offsets(read) == expected
    assert (read.epoch, read.offset) == ("epoch", top)


@given(ages=st.lists(st.integers(0, 12), max_size=12), since=st.integers(0, 12), age=st.integers(0, 12))
def test_where_clocks_disagree_nothing_is_left_out_of_the_middle(
    ages: list[int], since: int, age: int
) -> None:
    feed = make_feed(len(ages), [60 * each for each in ages])
    read = window(feed.pk, size=100, age_s=60 * age + 30, limit=100, since=Position("", since))
    read_on = offsets(read)
    assert read_on == list(range(len(ages) - len(read_on) + 1, len(ages) + 1))
    assert all(offset > since for offset in read_on)


def test_what_is_read_has_its_data_info_and_tags() -> None:
    feed = make_feed(1, [0])
    JournalEntry.objects.update(info='{"client":"c"}', tags='{"a":"1"}')
    (publication,) = window(feed.pk, size=9, age_s=60, limit=9).publications
    assert (publication.data, publication.info, publication.tags) == ("1", '{"client":"c"}', '{"a":"1"}')
    assert publication.epoch == "epoch"


def test_large_publications_end_a_window_early(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = make_feed(5, [0] * 5)
    monkeypatch.setattr(journal, "HISTORY_LIMIT_CHARACTERS", 3)
    read = window(feed.pk, size=9, age_s=60, limit=9, since=Position("epoch", 0))
    assert offsets(read) == [1, 2, 3]


@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_published_while_a_window_is_read_is_not_in_it(
    monkeypatch: pytest.MonkeyPatch, reverse: bool
) -> None:
    feed = make_feed(3, [0] * 3)
    real = journal._affordable

    def late(entries: QuerySet[JournalEntry], epoch: str) -> list[Publication]:
        commit([Write(feed.pk, "4")])
        return real(entries, epoch)

    monkeypatch.setattr(journal, "_affordable", late)
    since = None if reverse else Position("epoch", 1)
    read = window(feed.pk, size=9, age_s=60, limit=9, since=since, reverse=reverse)
    assert (offsets(read), read.offset) == ([3, 2, 1] if reverse else [2, 3], 3)


def test_a_feed_that_is_gone_has_no_window() -> None:
    with pytest.raises(NotFound):
        window(1_000_000, size=1, age_s=1, limit=1)
