"""Clients that take rows, between the real hub and the real way out, whatever happens to announcements.

The machine of `test_hub_properties`, with lists of rows in the feed. Clients come with a position but without
its value, stop reading and go on, skip or are let go; the journal forgets its newest value too. Whatever a
client is told, it then holds the feed's value at the position that came with it.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from realtime.delivery import stream as stream_module
from realtime.delivery.direct import DirectConnection
from realtime.delivery.frames import ByRows, Event
from realtime.errors import HeadwaterError, SlowReader
from realtime.feeds.publication import Publication
from tests.delivery.applying import applied

from .test_hub_properties import FEED, NOW, HubMachine, Recorder
from .test_rows import written

LIMIT = 3_000


class Line:
    """A server's handle, whose client reads or does not."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self.send = self.write = take
        self.paused = False
        self.waiting = 0
        self.told: Callable[[bool], None] = lambda paused: None

    def listen(self, told: Callable[[bool], None]) -> None:
        self.told = told

    def heard(self) -> None: ...

    def close(self, code: int, reason: str) -> None: ...


class Client(Recorder):
    """Applies what it gets. It holds nothing before its first value, wherever it says that it stands."""

    def __init__(self, published: dict[tuple[str, int], str], *, latest_only: bool) -> None:
        super().__init__()
        self.published = published
        self.value: Any = self  # nothing that rows could be applied to
        self.reason: HeadwaterError | None = None
        self.line = Line(self.receive)
        self.way = DirectConnection(
            self.line,
            render=ByRows(attrgetter("sse")),
            feeds=1,
            latest_only=[FEED] if latest_only else [],
            limit_bytes=LIMIT,
            stall_s=1_000_000,
            ended=self.end,
        )

    def hear(self, event: Event) -> None:
        assert not self.left, event
        self.events.append(event)
        self.way.deliver(event)

    def start(self, *events: Event) -> None:
        assert not self.left, events
        self.events += events
        self.way.start(*events)

    def end(self, reason: HeadwaterError) -> None:
        self.reason = reason

    def receive(self, blocks: bytes) -> None:
        for block in blocks.decode().split("\n\n")[:-1]:
            self.take(json.loads(block.partition("data: ")[2]))

    def take(self, message: dict[str, Any]) -> None:
        if message["type"] == "status":
            return
        told = message["epoch"], message["offset"]
        if "rows" in message:
            RowsMachine.deltas += 1
            self.value = applied(self.value, message["key"], message["rows"])
        else:
            self.value = message["data"]
        if message["type"] == "update":
            assert self.position is not None, "an update before any start"
            assert told == (self.position[0], self.position[1] + 1), (self.position, told)
        self.position = told
        forgotten = message["published_at"] is None
        assert written(self.value) == ("null" if forgotten else self.published[told])


class RowsMachine(HubMachine):
    deltas = 0

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.published: dict[tuple[str, int], str] = {}
        self.latest_only = False

    @property
    def clients(self) -> list[tuple[Any, Client]]:
        return cast("list[tuple[Any, Client]]", self.seats)

    def recorder(self) -> Recorder:
        self.latest_only = not self.latest_only
        return Client(self.published, latest_only=self.latest_only)

    def publication(self, epoch: str, offset: int) -> Publication:
        """Mostly a list of rows, much as the one before it, of which some are in another order."""
        dice = random.Random(f"{epoch}-{offset}")
        keys = [key for key in range(8) if dice.random() < 0.8]
        if dice.random() < 0.3:
            dice.shuffle(keys)
        rows = [{"id": key, "n": dice.choice(["same"] * 3 + ["other"]), "x": "x" * 60} for key in keys]
        value = rows if dice.random() < 0.9 else {"not": "a list"}
        self.published[epoch, offset] = written(value)
        tags = '{"key":"id"}' if dice.random() < 0.9 else ""
        return Publication(FEED, epoch, offset, NOW, written(value), "", tags)

    @rule(target=HubMachine.live, back=st.sampled_from([None, 0, 1, 3]))
    def come(self, back: int | None) -> object:
        return self.settle(each=self.join(back=back))

    @rule(count=st.integers(1, 6))
    def all_goes_well(self, count: int) -> None:
        self.publish(count=count, announced=True, large=False)
        while self.flying:
            self.hub.hear(self.flying.pop(0))
        self.catch_up()
        self.a_turn_of_the_loop_ends()

    @precondition(lambda self: self.seats)
    @rule(data=st.data())
    def a_client_stops_reading(self, data: st.DataObject) -> None:
        line = data.draw(st.sampled_from(self.clients))[1].line

        async def pause() -> None:
            line.paused, line.waiting = True, 1
            line.told(True)

        self.runner.run(pause())

    @precondition(lambda self: self.seats)
    @rule(data=st.data(), all_of_it=st.booleans())
    def a_client_reads_again(self, data: st.DataObject, all_of_it: bool) -> None:
        self.runner.run(self._read(data.draw(st.sampled_from(self.clients))[1], all_of_it=all_of_it))

    async def _read(self, client: Client, *, all_of_it: bool = True) -> None:
        line = client.line
        line.paused, line.waiting = False, 0
        line.told(False)
        while all_of_it and client.way.held and client.reason is None:  # noqa: ASYNC110 - turns of this loop
            await asyncio.sleep(0)

    @rule()
    def whom_too_much_waited_for_leaves(self) -> None:
        for seat, client in list(self.clients):
            if client.reason is not None:
                assert isinstance(client.reason, SlowReader)
                self.hub.leave(seat)
                client.left = True
        self.seats = [(seat, client) for seat, client in self.clients if client.reason is None]

    def teardown(self) -> None:
        """Everybody reads again: whoever was not let go has everything."""
        try:
            for _, client in self.clients:
                self.runner.run(self._read(client))
            self.whom_too_much_waited_for_leaves()
            super().teardown()
        finally:
            self.runner.close()


RowsMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=50)


@pytest.fixture(autouse=True, scope="module")
def a_short_memory() -> Iterator[None]:
    """So that the limits are met within a few steps; and rows are told at all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_module, "RECENT_LIMIT", 3)
        patch.setattr(stream_module, "ASIDE_LIMIT", 2)
        yield
    assert RowsMachine.deltas > 0


TestRows = RowsMachine.TestCase
