"""What waits for one client: in order, bounded, and of a latest-only feed the newest value alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from realtime.delivery.backlog import Backlog, size_of
from realtime.delivery.frames import Event, gone_event, status_event, update_event
from realtime.feeds.publication import Publication, Status

PLAIN, LATEST, OTHER = 1, 2, 3
SLUGS = {PLAIN: "plain", LATEST: "latest", OTHER: "other"}
LIMIT = 800
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def backlog(limit_bytes: int = LIMIT) -> Backlog[bytes]:
    return Backlog(lambda event: event.frame, limit_bytes=limit_bytes, latest_only={LATEST, OTHER})


def update(feed_id: int, offset: int, text: str = "") -> Event:
    data = json.dumps([offset, text], ensure_ascii=False)
    return update_event(SLUGS[feed_id], Publication(feed_id, "e", offset, NOW, data))


def status(feed_id: int, rev: int) -> Event:
    return status_event(feed_id, SLUGS[feed_id], Status(rev, "failing", None, None, str(rev)))


def message(frame: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(frame[frame.index(b'{"') :])
    return content


def taken(queue: Backlog[bytes]) -> list[tuple[str, Any]]:
    """All that waits, as (type, offset or error)."""
    messages = []
    while (frame := queue.take()) is not None:
        messages.append(message(frame))
    return [(each["type"], each["offset"] if "offset" in each else each["error"]) for each in messages]


def test_a_client_that_is_behind_skips_to_the_newest_value_and_is_told_so() -> None:
    queue = backlog()
    for offset in (5, 6, 7):
        assert queue.add(update(LATEST, offset), behind=True)
    assert queue.add(status(LATEST, 1), behind=True)
    assert queue.add(update(PLAIN, 1), behind=True)
    assert queue.add(status(LATEST, 2), behind=True)
    assert queue.add(update(LATEST, 8), behind=True)
    assert taken(queue) == [("reset", 8), ("status", "2"), ("update", 1)]
    assert queue.add(update(LATEST, 9), behind=True)
    assert taken(queue) == [("update", 9)], "nothing was skipped: it is the next offset"


def test_one_that_keeps_up_gets_every_value() -> None:
    queue = backlog()
    for offset in (5, 6, 7):
        assert queue.add(update(LATEST, offset), behind=False)
    assert taken(queue) == [("update", 5), ("update", 6), ("update", 7)]


def test_more_than_the_limit_in_one_turn_is_skipped_instead_of_refused() -> None:
    queue = backlog()
    for offset in range(1, 101):
        assert queue.add(update(LATEST, offset, "x" * 500), behind=False)
    told = taken(queue)
    assert told[-1] == ("reset", 100)
    assert told[:-1] == [("update", offset) for offset in range(1, len(told))]


def test_what_a_skip_says_is_encoded_once() -> None:
    queues = [backlog(), backlog()]
    for event in (update(LATEST, 1), update(LATEST, 2)):
        for queue in queues:
            queue.add(event, behind=True)
    one, other = (queue.take() for queue in queues)
    assert one is not None
    assert one is other


def test_a_value_of_another_life_is_told_as_it_is() -> None:
    queue = backlog()
    queue.add(update(LATEST, 5), behind=True)
    queue.add(update(LATEST, 1).as_reset, behind=True)
    assert taken(queue) == [("reset", 1)]


def test_the_end_of_a_feed_is_told_after_its_last_value() -> None:
    queue = backlog()
    for event in (update(LATEST, 1), update(LATEST, 2), gone_event(LATEST, "latest")):
        queue.add(event, behind=True)
    frames = [message(frame) for frame in iter(queue.take, None)]
    assert [frame["type"] for frame in frames] == ["reset", "error"]


def test_what_waits_of_a_feed_is_forgotten_and_what_comes_then_queues_behind_the_rest() -> None:
    queue = backlog()
    for event in (update(LATEST, 1), update(LATEST, 2), status(LATEST, 1), update(OTHER, 1)):
        queue.add(event, behind=True)
    queue.forget(LATEST)
    queue.forget(PLAIN)
    queue.add(update(LATEST, 3), behind=True)
    assert taken(queue) == [("update", 1), ("update", 3)]
    assert not queue


def test_a_start_keeps_its_history_and_counts_for_nothing() -> None:
    queue = backlog(limit_bytes=1)
    for offset in (1, 2, 3):
        queue.start(update(LATEST, offset))
    assert queue.counted_bytes == 0
    queue.add(update(LATEST, 4), behind=True)
    queue.add(update(LATEST, 5), behind=True)
    assert taken(queue) == [("update", 1), ("update", 2), ("update", 3), ("reset", 5)]


async def test_a_mark_is_passed_when_all_before_it_was_taken() -> None:
    queue = backlog()
    queue.add(update(PLAIN, 1), behind=True)
    mark = queue.mark()
    queue.add(update(PLAIN, 2), behind=True)
    queue.take()
    assert not mark.done()
    queue.take()
    assert mark.done()
    late = queue.mark()
    queue.clear()
    assert late.done()


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"), st.sampled_from([PLAIN, LATEST, OTHER]), st.booleans(), st.text(max_size=100)
        ),
        st.tuples(st.just("status"), st.sampled_from([PLAIN, LATEST, OTHER]), st.booleans(), st.just("")),
        st.tuples(st.just("start"), st.sampled_from([PLAIN, LATEST, OTHER]), st.booleans(), st.just("")),
        st.tuples(st.just("take"), st.just(0), st.booleans(), st.just("")),
    ),
    max_size=60,
)


class Model:
    """What is told of three feeds, and what the client makes of it."""

    def __init__(self) -> None:
        self.queue = backlog()
        self.offset = dict.fromkeys(SLUGS, 0)
        self.rev = dict.fromkeys(SLUGS, 0)
        self.refused: set[int] = set()
        self.live: set[int] = set()
        # Where the client stands, and the last status it had, by slug.
        self.seen = dict.fromkeys(SLUGS.values(), 0)
        self.seen_rev = dict.fromkeys(SLUGS.values(), 0)
        self.kinds: dict[str, set[str]] = {slug: set() for slug in SLUGS.values()}

    def step(self, what: str, feed_id: int, behind: bool, text: str) -> None:
        if what == "take":
            self.take()
        elif what == "status":
            self.live.add(feed_id)
            if self.queue.add(status(feed_id, self.rev[feed_id] + 1), behind=behind):
                self.rev[feed_id] += 1
            else:
                self.refused.add(feed_id)
        else:
            event = update(feed_id, self.offset[feed_id] + 1, text)
            if what == "start" and feed_id not in self.live:
                self.queue.start(event)
                self.offset[feed_id] += 1
                return
            self.live.add(feed_id)
            before = self.queue.counted_bytes
            if self.queue.add(event, behind=behind):
                self.offset[feed_id] += 1
            else:
                self.refused.add(feed_id)
                assert before + size_of(event.frame) > LIMIT, "there was room"

    def take(self) -> bool:
        frame = self.queue.take()
        if frame is None:
            return False
        told = message(frame)
        slug = told["feed"]
        if told["type"] == "status":
            assert int(told["error"]) > self.seen_rev[slug]
            self.seen_rev[slug] = int(told["error"])
            return True
        assert told["data"][0] == told["offset"]
        self.kinds[slug].add(told["type"])
        if told["type"] == "update":
            assert told["offset"] == self.seen[slug] + 1, "a skip that is not told"
        else:
            assert told["offset"] > self.seen[slug] + 1, "a reset that skips nothing"
        self.seen[slug] = told["offset"]
        return True


@given(STEPS)
def test_whatever_comes_and_goes_the_client_ends_with_the_newest(
    steps: list[tuple[str, int, bool, str]],
) -> None:
    model = Model()
    for step in steps:
        model.step(*step)
        waiting = [entry for entry in model.queue._queue if isinstance(entry, tuple)]
        assert model.queue.counted_bytes == sum(size for _, size in waiting)
        assert model.queue.counted_bytes <= LIMIT
        places = [entry for entry in model.queue._queue if not isinstance(entry, tuple)]
        assert len(places) <= 4, "more than a value and a status of each latest-only feed"
    while model.take():
        pass
    assert model.queue.counted_bytes == 0
    assert not model.queue
    assert {SLUGS[feed_id]: offset for feed_id, offset in model.offset.items()} == model.seen
    assert {SLUGS[feed_id]: rev for feed_id, rev in model.rev.items()} == model.seen_rev
    assert model.kinds["plain"] <= {"update"}
    assert model.refused <= {PLAIN}
