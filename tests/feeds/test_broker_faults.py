"""What a broker does when its layer fails in any call: nothing ends, and everything is joined again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from realtime.feeds import broker as broker_module
from realtime.feeds.announcement import group_of, to_message
from realtime.feeds.broker import Broker
from realtime.feeds.layer import PipelinedPubSubLayer
from realtime.feeds.supervision import Supervisor
from tests.feeds.broking import FragileLayer, announcement, process, until

NEVER_S = 600.0
CALLS = ("group_send", "group_add", "group_discard", "send", "receive", "new_channel", "flush")


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks and tries again often. What works is given up by no limit, however slow this machine is."""
    for name, limit_s in (
        ("RETRY_S", 0.02),
        ("ECHO_EVERY_S", 0.05),
        ("SILENCE_LIMIT_S", NEVER_S),
        ("LAYER_TIMEOUT_S", NEVER_S),
        ("JOIN_TIMEOUT_S", NEVER_S),
    ):
        monkeypatch.setattr(broker_module, name, limit_s)


async def is_heard(broker: Broker, heard: Any, feed_id: int) -> None:
    """Announce until it is heard: an announcement may be lost, and nothing but that."""
    offset = 1_000
    async with asyncio.timeout(30):
        while not heard.offsets or heard.offsets[-1] < 1_000:
            broker.announce(announcement(feed_id, offset))
            offset += 1
            await asyncio.sleep(0.02)


def supervised_failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "realtime.feeds.supervision"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_whichever_call_of_the_layer_does_not_work_is_made_again_until_it_does(
    call: str, how: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit_s in (("SILENCE_LIMIT_S", 0.5), ("LAYER_TIMEOUT_S", 0.2), ("JOIN_TIMEOUT_S", 0.2)):
        monkeypatch.setattr(broker_module, name, limit_s)
    layer = FragileLayer()
    async with process(layer) as (broker, heard):
        for feed_id in (1, 2):
            await broker.join(feed_id)
        before = layer.asked[call]
        if how == "fails":
            layer.failures[call] = 3
        else:
            layer.hang(call)
        if call in ("new_channel", "flush"):
            layer.is_silent = True  # so that they are called
        broker.announce(announcement(1, 1))
        async with asyncio.timeout(30):
            await broker.join(3)
            broker.leave(2)
            await broker.away.wait()
            await broker.join(4)
        async with asyncio.timeout(30):
            while layer.asked[call] < before + 3:
                broker.announce(announcement(1, 1))
                await broker.join(2)
                await asyncio.sleep(0.02)
                broker.leave(2)
                await asyncio.sleep(0.02)
        layer.hanging.pop(call, asyncio.Event()).set()
        await until(lambda: broker.connected)
        await until(lambda: {group_of(feed_id) for feed_id in (1, 3, 4)} <= set(layer.groups))
        await is_heard(broker, heard, 4)
    assert supervised_failures(caplog) == []


async def test_a_failure_has_the_layer_looked_at_now_and_not_at_the_next_echo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_module, "ECHO_EVERY_S", NEVER_S)
    layer = FragileLayer()
    async with process(layer) as (broker, _):
        await broker.join(1)
        await until(lambda: len(layer.echoes) > 0)
        layer.failures["group_add"] = 1
        await broker.join(2)
        assert not broker.connected
        await until(lambda: broker.connected)


async def test_while_the_layer_is_away_a_join_does_not_wait_for_it() -> None:
    layer = FragileLayer()
    async with process(layer) as (broker, _):
        await broker.join(1)
        layer.hang("group_add")
        broker.away.set()
        asked = layer.asked["group_add"]
        async with asyncio.timeout(30):
            await broker.join(2)
        assert layer.asked["group_add"] == asked


async def test_an_echo_from_before_the_failure_does_not_say_that_the_layer_is_back() -> None:
    layer = FragileLayer()
    async with process(layer) as (broker, heard):
        await broker.join(1)
        await until(lambda: any(each["life"] == 0 for each in layer.echoes))
        echo = next(each for each in layer.echoes if each["life"] == 0)
        (channel,) = layer.groups[group_of(1)]
        layer.failures["group_send"] = 1
        layer.failures["group_add"] = layer.failures["send"] = 1_000_000
        broker.announce(announcement(1, 1))
        await until(lambda: not broker.connected)
        await InMemoryChannelLayer.send(layer, channel, echo)
        await InMemoryChannelLayer.group_send(layer, group_of(1), to_message(announcement(1, 2)))
        await heard.until(lambda offsets: offsets == [2])
        assert not broker.connected


async def test_a_layer_that_forgot_its_groups_is_told_them_again_after_a_failure_and_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = FragileLayer()
    async with process(layer) as (broker, heard):
        await broker.join(1)
        await until(lambda: len(layer.echoes) > 0)
        layer.groups.clear()
        layer.failures["group_send"] = 1
        broker.announce(announcement(1, 1))
        await until(lambda: group_of(1) in layer.groups)
    monkeypatch.setattr(broker_module, "REFRESH_S", 0.1)
    async with process(layer) as (broker, heard):
        await broker.join(1)
        layer.groups.clear()
        await is_heard(broker, heard, 1)
        assert layer.failures.total() == 0


async def test_feeds_that_were_being_joined_while_the_channel_was_replaced_are_joined_for_the_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_module, "SILENCE_LIMIT_S", 0.5)
    layer = FragileLayer()
    async with process(layer) as (broker, _):
        for feed_id in (1, 2):
            await broker.join(feed_id)
        (old,) = layer.groups[group_of(1)]
        adding = layer.hang("group_add feed.2")
        layer.failures["group_send"] = 1
        broker.announce(announcement(1, 1))
        await until(lambda: layer.asked["group_add feed.2"] == 2)  # the first has been joined again
        layer.is_silent = True
        await until(lambda: layer.asked["new_channel"] == 2 and layer.asked["receive"] >= 2)
        layer.hanging.clear()
        adding.set()
        await until(lambda: broker.connected)
        await until(lambda: all(set(layer.groups.get(group_of(n), ())) - {old} for n in (1, 2)))


async def test_a_feed_that_is_left_while_it_is_being_joined_is_left_in_the_end() -> None:
    layer = FragileLayer()
    async with process(layer) as (broker, _):
        adding = layer.hang("group_add")
        joining = asyncio.create_task(broker.join(1))
        await until(lambda: layer.asked["group_add"] == 1)
        broker.leave(1)
        echoes = len(layer.echoes)
        await until(lambda: len(layer.echoes) > echoes)
        adding.set()
        await joining
        await until(lambda: layer.asked["group_discard"] > 0)
        assert layer.groups == {}


async def test_a_feed_that_is_joined_while_it_is_being_left_stays_joined() -> None:
    layer = FragileLayer()
    async with process(layer) as (broker, heard):
        await broker.join(1)
        leaving = layer.hang("group_discard")
        broker.leave(1)
        await until(lambda: layer.asked["group_discard"] == 1)
        await broker.join(1)
        leaving.set()
        await is_heard(broker, heard, 1)
        assert broker.connected


async def test_joining_for_longer_than_the_silence_limit_is_no_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_module, "SILENCE_LIMIT_S", 0.5)
    layer = FragileLayer()
    async with process(layer) as (broker, _):
        layer.failures["send"] = 1
        async with asyncio.timeout(30):
            await broker.away.wait()
        for feed_id in range(1, 41):
            await broker.join(feed_id)
        layer.joining_takes_s = 0.05
        await until(lambda: broker.connected)
        assert all(group_of(feed_id) in layer.groups for feed_id in range(1, 41))


async def test_what_waits_when_sending_fails_is_dropped_and_counted_and_later_ones_are_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(broker_module, "CLOSE_TIMEOUT_S", NEVER_S)
    layer, supervisor = FragileLayer(), Supervisor()
    broker = Broker(layer, supervisor)
    try:
        for dropped in (300, 600):
            layer.failures["group_send"] = 1
            for offset in range(300):
                broker.announce(announcement(1, offset))
            await until(lambda dropped=dropped: broker.dropped >= dropped)  # type: ignore[misc]
            assert broker.dropped == dropped
            assert not broker.connected
        broker.announce(announcement(1, 300))
        await until(lambda: broker.connected)
        assert broker.dropped == 600
        async with asyncio.timeout(30):
            await broker.aclose()
    finally:
        await supervisor.aclose()
    assert supervised_failures(caplog) == []


async def test_no_more_than_the_limit_waits_for_a_layer_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "OUTBOX_LIMIT", 10)
    layer = FragileLayer()
    async with process(layer) as (broker, heard):
        await broker.join(1)
        sending = layer.hang("group_send")
        broker.announce(announcement(1, 0))
        await until(lambda: layer.asked["group_send"] == 1)
        for offset in range(1, 15):
            broker.announce(announcement(1, offset))
        assert broker.dropped == 4
        sending.set()
        await heard.until(lambda offsets: offsets == list(range(11)))


class Recording(PipelinedPubSubLayer):
    """Takes what is sent to Redis, and how much at once."""

    def __init__(self) -> None:
        super().__init__(hosts=["redis://nowhere.invalid"])
        self.sizes: list[int] = []

    async def group_send_many(self, messages: Sequence[tuple[str, dict[str, Any]]]) -> None:
        self.sizes.append(len(messages))


async def test_no_more_than_a_batch_is_sent_at_once() -> None:
    layer, supervisor = Recording(), Supervisor()
    broker = Broker(layer, supervisor)
    for offset in range(450):
        broker.announce(announcement(1, offset))
    await until(lambda: sum(layer.sizes) == 450)
    assert layer.sizes == [200, 200, 50]
    await supervisor.aclose()


@pytest.mark.parametrize("hangs", [False, True])
async def test_closing_sends_what_waits_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr(broker_module, "CLOSE_TIMEOUT_S", 0.1 if hangs else NEVER_S)
    layer, supervisor = FragileLayer(), Supervisor()
    broker = Broker(layer, supervisor)
    if hangs:
        layer.hang("group_send")
    for offset in range(500):
        broker.announce(announcement(1, offset))
    async with asyncio.timeout(30):
        await broker.aclose()
        await supervisor.aclose()
    assert layer.asked["group_send"] == (1 if hangs else 500)
