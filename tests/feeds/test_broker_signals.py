"""Named groups and signals: short messages between processes that nobody keeps."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from realtime.feeds import broker as broker_module
from realtime.feeds.announcement import SIGNAL_TYPE, Signal, signal_from_message
from realtime.feeds.broker import Broker
from realtime.feeds.runtime import Feeds, signal_now
from realtime.feeds.supervision import Supervisor
from tests.feeds.broking import announcement, process, redis_layer, until
from tests.services import Redis


class Inbox:
    """The signals of one kind that a broker heard, and a way to wait for them."""

    def __init__(self, broker: Broker, kind: str) -> None:
        self.numbers: list[Any] = []
        self._something = asyncio.Event()
        broker.hear(kind, self)

    def __call__(self, signal: dict[str, Any]) -> None:
        self.numbers.append(signal["n"])
        self._something.set()

    async def until(self, condition: Callable[[list[Any]], bool], within_s: float = 30) -> None:
        async with asyncio.timeout(within_s):
            while not condition(self.numbers):
                await self._something.wait()
                self._something.clear()


async def test_a_signal_reaches_those_in_its_group_the_sender_too_and_goes_by_its_kind() -> None:
    layer = InMemoryChannelLayer(capacity=1000)
    async with process(layer) as (one, _), process(layer) as (two, _):
        at_one, at_two, other = Inbox(one, "knock"), Inbox(two, "knock"), Inbox(two, "ring")
        await one.join_group("door")
        await two.join_group("door")
        one.signal("door", {"kind": "knock", "n": 1})
        one.signal("window", {"kind": "knock", "n": 2})
        await at_two.until(lambda numbers: numbers == [1])
        two.signal("door", {"kind": "nobody hears this", "n": 3})
        two.signal("door", {"kind": "ring", "n": 4})
        two.signal("door", {"kind": "knock", "n": {"deep": [5, None, "ü☂"]}})
        expected = [1, {"deep": [5, None, "ü☂"]}]
        await at_one.until(lambda numbers: numbers == expected)
        await at_two.until(lambda numbers: numbers == expected)
        assert other.numbers == [4]


async def test_who_left_a_group_hears_nothing_of_it_and_who_came_back_does() -> None:
    layer = InMemoryChannelLayer(capacity=1000)
    async with process(layer) as (broker, _):
        inbox = Inbox(broker, "knock")
        await broker.join_group("door")
        broker.leave_group("door")
        await until(lambda: "door" not in layer.groups)
        broker.signal("door", {"kind": "knock", "n": 1})
        await broker.join_group("door")
        broker.signal("door", {"kind": "knock", "n": 2})
        await inbox.until(lambda numbers: numbers[-1:] == [2])


async def test_signals_of_a_feeds_group_are_heard_by_those_who_watch_it() -> None:
    layer = InMemoryChannelLayer(capacity=1000)
    async with process(layer) as (broker, heard):
        inbox = Inbox(broker, "knock")
        await broker.join(7)
        broker.signal("feed.7", {"kind": "knock", "n": 1})
        broker.announce(announcement(7, 1))
        await inbox.until(lambda numbers: numbers == [1])
        await heard.until(lambda offsets: offsets == [1])


async def test_signals_cross_processes_in_order_and_survive_a_redis_that_was_killed(
    own_redis: Redis,
) -> None:
    one_layer, two_layer = redis_layer(own_redis.url), redis_layer(own_redis.url)
    async with process(one_layer) as (one, _), process(two_layer) as (two, _):
        inbox = Inbox(one, "knock")
        await one.join_group("door")
        for number in range(50):
            two.signal("door", {"kind": "knock", "n": number})
        await inbox.until(lambda numbers: numbers == list(range(50)))
        own_redis.kill()
        await until(lambda: not one.connected)
        await one.join_group("window")  # does not raise, does not hang
        own_redis.start()
        await until(lambda: one.connected)

        async def signal_until_heard(group: str) -> None:
            while group not in inbox.numbers:
                two.signal(group, {"kind": "knock", "n": group})
                await asyncio.sleep(0.05)

        async with asyncio.timeout(30):
            await signal_until_heard("door")
            await signal_until_heard("window")


async def test_a_process_that_only_hears_signals_notices_that_the_layer_is_back(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "ECHO_EVERY_S", 0.1)
    supervisor = Supervisor()
    broker = Broker(redis_layer(own_redis.url), supervisor)
    try:
        inbox = Inbox(broker, "knock")
        await broker.join_group("door")
        own_redis.kill()
        await until(lambda: not broker.connected)
        own_redis.start()
        await until(lambda: broker.connected)
        broker.signal("door", {"kind": "knock", "n": 1})
        await inbox.until(lambda numbers: numbers == [1])
    finally:
        await supervisor.aclose()


async def test_what_a_callback_raises_is_logged_and_the_next_signal_is_heard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    layer = InMemoryChannelLayer(capacity=1000)
    async with process(layer) as (broker, heard):

        def fail(signal: dict[str, Any]) -> None:
            raise KeyError("n")

        broker.hear("broken", fail)
        inbox = Inbox(broker, "knock")
        await broker.join_group("door")
        await broker.join(1)
        broker.signal("door", {"kind": "broken"})
        broker.signal("door", {"kind": "knock", "n": 1})
        broker.announce(announcement(1, 1))
        await inbox.until(lambda numbers: numbers == [1])
        await heard.until(lambda offsets: offsets == [1])
        assert broker.connected
        assert "signal_failed kind=broken" in caplog.text
        assert broker.unreadable == 0


async def test_malformed_signals_are_ignored_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    layer = InMemoryChannelLayer(capacity=1000)
    texts = ["", "[]", "null", "{}", '{"kind":', 7, None, '{"n":1}', "[" * 100_000]
    async with process(layer) as (broker, _):
        inbox = Inbox(broker, "knock")
        await broker.join_group("door")
        with caplog.at_level(logging.WARNING):
            for text in texts:
                await layer.group_send("door", {"type": SIGNAL_TYPE, "text": text})
            await layer.group_send("door", {"type": SIGNAL_TYPE})
            broker.signal("door", {"kind": "knock", "n": 1})
            await inbox.until(lambda numbers: numbers == [1])
        assert broker.unreadable == len(texts) + 1
        assert caplog.text.count("layer_message_unreadable") == 1
        assert broker.connected


@pytest.mark.parametrize(
    ("signal", "error"),
    [
        ({"n": 1}, KeyError),
        ({"kind": 7}, TypeError),
        ({"kind": "x", "n": object()}, TypeError),
        ({"kind": "x", "n": float("nan")}, ValueError),
    ],
)
async def test_what_cannot_be_sent_is_refused_where_it_is_said(
    signal: dict[str, Any], error: type[Exception]
) -> None:
    supervisor = Supervisor()
    broker = Broker(InMemoryChannelLayer(), supervisor)
    try:
        with pytest.raises(error):
            broker.signal("door", signal)
    finally:
        await supervisor.aclose()


async def test_past_ten_thousand_waiting_signals_are_dropped_and_counted() -> None:
    supervisor = Supervisor()
    broker = Broker(InMemoryChannelLayer(capacity=20_000), supervisor)
    try:
        for number in range(broker_module.OUTBOX_LIMIT + 5):
            broker.signal("door", {"kind": "knock", "n": number})
        assert broker.dropped == 5
    finally:
        await supervisor.aclose()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=4), st.text())
def test_a_message_gives_the_signal_back(signal: dict[str, Any], kind: str) -> None:
    signal = signal | {"kind": kind}
    message = Signal.of("door", signal).message
    assert message["text"].isascii()
    assert signal_from_message(message) == (kind, json.loads(json.dumps(signal)))


async def test_sync_code_signals_through_the_loop_of_its_process(feeds: Feeds) -> None:
    inbox = Inbox(feeds.broker, "knock")
    await feeds.broker.join_group("door")
    await asyncio.to_thread(signal_now, "door", {"kind": "knock", "n": 1})
    await inbox.until(lambda numbers: numbers == [1])
