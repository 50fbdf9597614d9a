"""A group that was left is left at the layer too, whatever fails meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime.feeds import broker as broker_module
from realtime.feeds.announcement import group_of
from realtime.feeds.broker import Broker
from tests.feeds.broking import FragileLayer, process, until

NEVER_S = 600.0


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but failures and leaving makes it look, and what works is given up by no limit."""
    monkeypatch.setattr(broker_module, "RETRY_S", 0.02)
    for name in ("ECHO_EVERY_S", "SILENCE_LIMIT_S", "LAYER_TIMEOUT_S", "JOIN_TIMEOUT_S"):
        monkeypatch.setattr(broker_module, name, NEVER_S)


@asynccontextmanager
async def two_joined() -> AsyncIterator[tuple[FragileLayer, Broker]]:
    """A process in the groups of feeds 1 and 2, that has looked at its layer."""
    layer = FragileLayer()
    async with process(layer) as (broker, _):
        for feed_id in (1, 2):
            await broker.join(feed_id)
        await until(lambda: len(layer.echoes) > 0)
        yield layer, broker


async def test_what_is_left_when_a_join_has_failed_is_left_before_the_layer_counts_as_back() -> None:
    async with two_joined() as (layer, broker):
        layer.failures["group_add"] = 1
        await broker.join(3)
        broker.leave(2)  # in the same turn: it has not looked yet
        assert not broker.connected
        await until(lambda: broker.connected)
        assert set(layer.groups) == {group_of(1), group_of(3)}


async def test_what_is_left_when_all_groups_are_due_to_be_joined_again_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_module, "REFRESH_S", 0.0)
    async with two_joined() as (layer, broker):
        broker.leave(2)
        await until(lambda: set(layer.groups) == {group_of(1)})


async def test_a_group_that_could_not_be_left_is_left_when_the_layer_is_back() -> None:
    async with two_joined() as (layer, broker):
        layer.failures["group_discard"] = 1
        broker.leave(2)
        await until(lambda: layer.asked["group_discard"] == 1)
        await until(lambda: broker.connected)
        assert set(layer.groups) == {group_of(1)}
