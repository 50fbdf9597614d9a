"""What a poll does to the feeds it fills: their values and their health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone
from pytest_django import Settings

from realtime.feeds import store
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds
from realtime.sources import poller as poller_module
from tests.held_unit import HeldUnit
from tests.sources.polling import feed, open_feeds, polling, source, until, values
from tests.sources.rows import make_source
from tests.upstream import Upstream, closed_port
from tests.upstream_replies import answers, in_turn, later, never, says

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
async def feeds() -> AsyncIterator[Feeds]:
    async with open_feeds() as running:
        yield running


def soon(url: str, **fields: object) -> None:
    make_source(next_poll_at=timezone.now(), **({"url": url, "interval_s": 0.3} | fields))  # type: ignore[arg-type]


async def test_a_good_answer_is_published_and_makes_the_feed_fresh(feeds: Feeds, upstream: Upstream) -> None:
    url = upstream.on("/quote", says({"value": 1.5}))
    started = timezone.now()
    await feeds.database.write(lambda: soon(url, interval_s=3600))
    async with polling(feeds):
        polled = await until(feeds.database, source(), lambda row: row.last_polled_at is not None)
        found = await feeds.database.read(feed())
    assert await feeds.database.read(values()) == ["1.5"]
    assert (found.state, found.error) == ("fresh", "")
    assert found.last_ok_at is not None
    assert found.last_ok_at >= started
    assert found.next_poll_at == polled.next_poll_at
    assert polled.next_poll_at > started + timedelta(seconds=3599)
    assert (polled.failures, polled.claimed_by, polled.last_error) == (0, "", "")
    assert polled.last_duration_ms > 0


async def test_an_unchanged_value_is_no_publication_but_counts_as_fresh(
    feeds: Feeds, upstream: Upstream
) -> None:
    await feeds.database.write(lambda: soon(upstream.on("/quote", says({"value": 7}))))
    async with polling(feeds):
        first = await until(feeds.database, feed(), lambda row: row.state == "fresh")
        later_on = await until(feeds.database, feed(), lambda row: row.last_ok_at > first.last_ok_at)
    assert later_on.offset == 1
    assert later_on.status_rev > first.status_rev


async def test_not_modified_counts_as_fresh(feeds: Feeds, upstream: Upstream) -> None:
    await feeds.database.write(lambda: soon(upstream.on("/quote", says({"value": 7}, etag='"v1"'))))
    async with polling(feeds):
        first = await until(feeds.database, feed(), lambda row: row.state == "fresh")
        await until(feeds.database, feed(), lambda row: row.last_ok_at > first.last_ok_at)
        await asyncio.to_thread(upstream.wait_for, "/quote", 3)
        kept = await feeds.database.read(source())
    asked = [upstream.heard["/quote"][number].headers.get("if-none-match") for number in range(3)]
    assert asked == [None, '"v1"', '"v1"']
    assert kept.failures == 0


async def test_a_changed_shape_is_failing_keeps_the_last_value_and_recovers(
    feeds: Feeds, upstream: Upstream
) -> None:
    url = upstream.on("/quote", says({"value": 1}, etag='"v1"'))
    await feeds.database.write(lambda: soon(url))
    async with polling(feeds):
        await until(feeds.database, feed(), lambda row: row.state == "fresh")
        upstream.on("/quote", says({"price": 2}, etag='"v2"'))
        failing = await until(feeds.database, feed(), lambda row: row.state == "failing")
        assert failing.error
        assert failing.last_ok_at is not None
        assert await feeds.database.read(values()) == ["1"]
        told = await until(feeds.database, source(), lambda row: row.failures > 0)
        assert told.etag != '"v2"'
        upstream.on("/quote", says({"value": 3}))
        await until(feeds.database, feed(), lambda row: row.state == "fresh")
    assert await feeds.database.read(values()) == ["1", "3"]


async def test_one_expression_that_finds_nothing_does_not_hurt_the_others(
    feeds: Feeds, upstream: Upstream
) -> None:
    url = upstream.on("/quote", says({"a": 1, "c": {}}, etag='"v1"'))
    await feeds.database.write(lambda: soon(url, expressions=("a", "b", "c")))
    async with polling(feeds):
        await until(feeds.database, feed("quotes-1"), lambda row: row.state == "failing")
        row = await until(feeds.database, source(), lambda row: row.last_polled_at is not None)
    states = await feeds.database.read(
        lambda: list(Feed.objects.order_by("slug").values_list("state", flat=True))
    )
    assert states == ["fresh", "failing", "fresh"]
    assert await feeds.database.read(values("quotes-0")) == ["1"]
    assert (row.failures, row.etag) == (0, "")
    assert row.last_error


async def test_a_value_that_is_too_large_is_failing_and_its_neighbour_is_not(
    feeds: Feeds, upstream: Upstream
) -> None:
    url = upstream.on("/quote", says({"small": 1, "large": "x" * 1_000_001}))
    await feeds.database.write(lambda: soon(url, expressions=("small", "large")))
    async with polling(feeds):
        row = await until(feeds.database, feed("quotes-1"), lambda row: row.state == "failing")
    assert "limit" in row.error
    assert await feeds.database.read(values("quotes-0")) == ["1"]


async def test_an_upstream_that_fails_keeps_the_last_value_and_tells_the_reason_and_the_next_try(
    feeds: Feeds, upstream: Upstream
) -> None:
    url = upstream.on("/quote", in_turn(says({"value": 1}), answers("no", status=503)))
    await feeds.database.write(lambda: soon(url))
    async with polling(feeds):
        row = await until(feeds.database, feed(), lambda row: row.state == "failing")
    assert "503" in row.error
    assert row.next_poll_at > row.last_ok_at
    assert await feeds.database.read(values()) == ["1"]


async def test_an_upstream_that_nobody_serves_fails_with_the_reason_and_backs_off(feeds: Feeds) -> None:
    await feeds.database.write(lambda: soon(f"http://127.0.0.1:{closed_port()}/", interval_s=0.2))
    async with polling(feeds):
        row = await until(feeds.database, source(), lambda row: row.failures >= 3)
        assert "refused" in row.last_error
        assert (await feeds.database.read(feed())).state == "failing"


async def test_a_time_out_fails_and_is_not_waited_for_longer(feeds: Feeds, upstream: Upstream) -> None:
    await feeds.database.write(lambda: soon(upstream.on("/quote", never), timeout_s=0.2, interval_s=60))
    async with polling(feeds):
        row = await until(feeds.database, feed(), lambda row: row.state == "failing")
    assert "0.2 s" in row.error


async def test_retry_after_is_honoured(feeds: Feeds, upstream: Upstream) -> None:
    await feeds.database.write(lambda: soon(upstream.on("/quote", later("120"))))
    async with polling(feeds):
        row = await until(feeds.database, source(), lambda row: row.failures == 1)
        told = await feeds.database.read(feed())
    assert row.next_poll_at >= row.last_polled_at + timedelta(seconds=120)
    assert told.next_poll_at == row.next_poll_at


async def test_secrets_that_cannot_be_read_fail_with_the_reason_and_nothing_is_sent(
    feeds: Feeds, upstream: Upstream, settings: Settings
) -> None:
    url = upstream.on("/quote", says({"value": 1}))
    await feeds.database.write(lambda: soon(url, secret_headers={"x-key": "k"}, interval_s=60))
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    async with polling(feeds):
        row = await until(feeds.database, feed(), lambda row: row.state == "failing")
    assert "HEADWATER_FIELD_KEYS" in row.error
    assert upstream.requests["/quote"] == 0


async def test_secret_headers_are_sent(feeds: Feeds, upstream: Upstream) -> None:
    url = upstream.on("/quote", says({"value": 1}))
    await feeds.database.write(
        lambda: soon(
            url, headers={"x-open": "o"}, secret_headers={"authorization": "Bearer k"}, interval_s=60
        )
    )
    async with polling(feeds):
        await until(feeds.database, feed(), lambda row: row.state == "fresh")
    sent = upstream.heard["/quote"][0].headers
    assert (sent["x-open"], sent["authorization"]) == ("o", "Bearer k")


async def test_a_large_answer_is_read_like_a_small_one(feeds: Feeds, upstream: Upstream) -> None:
    url = upstream.on("/quote", says({"items": list(range(50_000)), "value": "last"}))
    await feeds.database.write(lambda: soon(url, interval_s=60))
    async with polling(feeds):
        await until(feeds.database, feed(), lambda row: row.state == "fresh")
    assert await feeds.database.read(values()) == ['"last"']


async def test_what_is_claimed_while_the_engine_ends_is_given_back(
    feeds: Feeds, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldUnit(poller_module._settle_and_claim)
    monkeypatch.setattr(poller_module, "_settle_and_claim", held)
    due = timezone.now()
    await feeds.database.write(
        lambda: make_source(url=upstream.on("/quote", says({"value": 1})), next_poll_at=due)
    )
    async with polling(feeds):
        await held.begun()
        asyncio.get_running_loop().call_soon(held.let_go)  # after the cancellation
    row = await feeds.database.read(source())
    assert (row.claimed_by, row.next_poll_at) == ("", due)


async def test_an_engine_whose_value_is_being_saved_keeps_its_claims_when_that_takes_too_long(
    feeds: Feeds, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(poller_module, "RELEASE_TIMEOUT_S", 0.1)
    held = HeldUnit(store.commit)
    monkeypatch.setattr(store, "commit", held)
    await feeds.database.write(lambda: soon(upstream.on("/quote", says({"value": 1})), interval_s=60))
    async with polling(feeds):
        await held.begun()
    held.let_go()
    assert (await feeds.database.read(source())).claimed_by == "one"
    assert "claims_not_released" in caplog.text
