"""Hub, broker and the real journal together, whatever becomes of the announcements between them.

They are lost, doubled, late and out of order, the layer itself goes away and comes back, commits come from
elsewhere, the journal is trimmed. Whoever watches still gets every publication once and in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Coroutine
from itertools import count
from typing import Any, TypeVar

import pytest
from channels.layers import InMemoryChannelLayer
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from realtime.delivery import watching
from realtime.delivery.frames import Event
from realtime.delivery.watching import Delivery, Want, Watch
from realtime.feeds import broker as broker_module
from realtime.feeds.broker import Broker
from realtime.feeds.models import Feed, JournalEntry
from realtime.feeds.position import Position
from realtime.feeds.runtime import Feeds
from realtime.feeds.store import Store, Write, Written, commit

T = TypeVar("T")

CHECK_S = 0.02
_numbers = count()


class FaultyLayer(InMemoryChannelLayer):
    """Keeps everything that is sent to a group until it is told what becomes of it."""

    def __init__(self) -> None:
        super().__init__(capacity=10_000)
        self.flying: list[tuple[str, dict[str, Any]]] = []
        self.broken = False

    def _work(self) -> None:
        if self.broken:
            raise ConnectionError("the layer is away")

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self._work()
        self.flying.append((group, message))

    async def arrive(self, at: int, *, again: bool) -> None:
        group, message = self.flying[at] if again else self.flying.pop(at)
        with contextlib.suppress(ConnectionError):  # lost, if the layer is away just then
            await super().group_send(group, message)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        self._work()
        await super().send(channel, message)

    async def group_add(self, group: str, channel: str) -> None:
        self._work()
        await super().group_add(group, channel)

    async def new_channel(self, prefix: str = "specific.") -> str:
        self._work()
        name: str = await super().new_channel(prefix)
        return name


class Recorder:
    """A watcher that remembers what it was told of the stream, and where it began."""

    def __init__(self, since: Position | None) -> None:
        self.since = since
        self.told: list[Event] = []

    def deliver(self, *events: Event) -> None:
        self.told += [event for event in events if event.kind != "status"]

    start = deliver

    async def drain(self) -> None: ...

    @property
    def offset(self) -> int:
        position = self.told[-1].position if self.told else self.since
        return position.offset if position else -1

    def check(self, committed: dict[int, str], *, trimmed: bool) -> None:
        last = self.since.offset if self.since else None
        for event in self.told:
            assert event.position is not None
            offset = event.position.offset
            match event.kind:
                case "snapshot":
                    assert last is None, "a second start"
                case "update":
                    assert last is not None, "an update before any start"
                    assert offset == last + 1, (last, offset)
                case _:
                    assert event.kind == "reset", event.kind
                    assert trimmed, "a position that the journal still has"
                    assert last is None or offset >= last
            assert json.loads(event.plain)["data"] == json.loads(committed[offset]) if offset else True
            last = offset


class WatchingMachine(RuleBasedStateMachine):
    watching = Bundle("watching")

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.layer = FaultyLayer()
        self.committed: dict[int, str] = {}
        self.seats: list[tuple[Recorder, Watch]] = []
        self.trimmed = False
        self.run(self._open())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(asyncio.wait_for(work, 30))

    async def _open(self) -> None:
        self.feeds = Feeds.current()
        self.feeds.broker = Broker(self.layer, self.feeds.supervisor)
        self.feeds.store = Store(self.feeds.database, self.feeds.broker.announce)
        self.delivery = Delivery(self.feeds, position_check_s=CHECK_S)
        slug = f"feed-{next(_numbers)}"
        feed = await self.feeds.database.write(lambda: Feed.objects.create(slug=slug, title=slug))
        self.feed_id, self.slug, self.epoch = feed.pk, feed.slug, feed.epoch

    @rule(number=st.integers(1, 3))
    def publish(self, number: int) -> None:
        values = [len(self.committed) + each for each in range(1, number + 1)]

        async def publish() -> list[Written]:
            written = await asyncio.gather(
                *(self.feeds.store.publish(self.feed_id, value) for value in values)
            )
            await self.feeds.broker._outbox.join()
            return written

        self._note(self.run(publish()))

    @rule(number=st.integers(1, 3))
    def publish_elsewhere(self, number: int) -> None:
        writes = [Write(self.feed_id, str(len(self.committed) + each)) for each in range(1, number + 1)]
        self._note(self.run(self.feeds.database.write(commit, writes)))

    def _note(self, results: list[Any]) -> None:
        for written in results:
            self.committed[written.publication.offset] = written.publication.data

    @precondition(lambda self: self.layer.flying)
    @rule(data=st.data(), fate=st.sampled_from(["arrives", "is doubled", "is lost"]))
    def an_announcement(self, data: st.DataObject, fate: str) -> None:
        at = data.draw(st.integers(0, len(self.layer.flying) - 1))
        if fate == "is lost":
            del self.layer.flying[at]
        else:
            self.run(self.layer.arrive(at, again=fate == "is doubled"))

    @rule(away=st.booleans())
    def the_layer_goes_or_comes(self, away: bool) -> None:
        self.layer.broken = away

    @rule(seconds=st.sampled_from([0.0, 0.002, CHECK_S]))
    def time_passes(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule(keep=st.integers(1, 4))
    def trim(self, keep: int) -> None:
        old = JournalEntry.objects.filter(feed_id=self.feed_id, offset__lte=len(self.committed) - keep)
        deleted, _ = self.run(self.feeds.database.write(old.delete))
        self.trimmed = self.trimmed or deleted > 0

    @rule(target=watching, back=st.none() | st.integers(0, 4))
    def come(self, back: int | None) -> tuple[Recorder, Watch]:
        since = None if back is None else Position(self.epoch, max(0, len(self.committed) - back))
        recorder = Recorder(since)
        wants = [Want(self.feed_id, self.slug, since)]
        seat = (recorder, self.run(self.delivery.watch(wants, recorder)))
        self.seats.append(seat)
        return seat

    @rule(seat=consumes(watching))
    def leave(self, seat: tuple[Recorder, Watch]) -> None:
        recorder, watch = seat
        watch.leave()
        self.seats.remove(seat)
        recorder.check(self.committed, trimmed=self.trimmed)

    def teardown(self) -> None:
        """Whatever is still flying is lost, and nothing is published any more: everybody gets everything."""
        if not hasattr(self, "runner"):
            return
        self.layer.broken = False
        self.layer.flying.clear()
        try:
            self.run(self._until_told())
            for recorder, _ in self.seats:
                recorder.check(self.committed, trimmed=self.trimmed)
        finally:
            self.run(self._close())
            self.runner.close()

    async def _until_told(self) -> None:
        while any(recorder.offset < len(self.committed) for recorder, _ in self.seats):  # noqa: ASYNC110
            await asyncio.sleep(CHECK_S / 4)

    async def _close(self) -> None:
        await self.delivery.aclose()
        await self.feeds.aclose()


@pytest.mark.database
def test_everybody_gets_everything_once_and_in_order_whatever_becomes_of_announcements(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "RETRY_S", 0.005)
    monkeypatch.setattr(broker_module, "ECHO_EVERY_S", 0.02)
    monkeypatch.setattr(watching, "CHECK_WHILE_AWAY_S", CHECK_S)
    monkeypatch.setattr(watching, "PAGE", 2)
    run_state_machine_as_test(
        WatchingMachine,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would wait for ever so often
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        ),
    )
