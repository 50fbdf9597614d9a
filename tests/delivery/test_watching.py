"""Watching, on the real journal: snapshot, then every change once and in order, whatever the layer does."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from realtime.delivery import missed
from realtime.delivery.frames import Event
from realtime.delivery.watching import Delivery, Want
from realtime.errors import Unavailable
from realtime.feeds import journal
from realtime.feeds.broker import Broker
from realtime.feeds.models import Feed, JournalEntry
from realtime.feeds.position import Position, new_epoch
from realtime.feeds.runtime import Feeds
from realtime.feeds.store import Health, Store, Write, commit

pytestmark = pytest.mark.django_db(transaction=True)


class Recorder:
    """A watcher that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._something = asyncio.Event()

    def deliver(self, *events: Event) -> None:
        self.events.extend(events)
        self._something.set()

    start = deliver

    async def drain(self) -> None: ...

    def told(self, slug: str = "feed") -> list[tuple[str, int]]:
        return [(e.kind, e.position.offset) for e in self.events if e.position and e.slug == slug]

    def last(self, kind: str) -> dict[str, Any]:
        return dict(json.loads([event for event in self.events if event.kind == kind][-1].plain))

    async def until(self, condition: Callable[[], bool], within_s: float = 30) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                await self._something.wait()
                self._something.clear()


class FaultyLayer(InMemoryChannelLayer):
    """Loses a third of what is sent, doubles a third, and sends some of it late."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__(capacity=10_000)
        self._dice = dice
        self._late: list[tuple[str, dict[str, Any]]] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        fate = self._dice.random()
        if fate < 0.33:
            return
        if fate < 0.5:
            self._late.append((group, message))
            return
        for _ in range(2 if fate < 0.75 else 1):
            await super().group_send(group, message)
        if self._late and self._dice.random() < 0.5:
            await super().group_send(*self._late.pop(self._dice.randrange(len(self._late))))


@pytest.fixture
async def delivery(feeds: Feeds) -> AsyncIterator[Delivery]:
    current = Delivery(feeds, position_check_s=0.2)
    yield current
    await current.aclose()


async def make_feed(feeds: Feeds, slug: str = "feed") -> int:
    return await feeds.database.write(lambda: Feed.objects.create(slug=slug, title=slug).pk)


async def position_of(feeds: Feeds, feed_id: int) -> Position:
    mark = (await feeds.database.read(journal.marks, [feed_id]))[feed_id]
    return Position(mark.epoch, mark.offset)


async def test_the_value_now_then_its_status_then_every_change(feeds: Feeds, delivery: Delivery) -> None:
    feed_id = await make_feed(feeds)
    await feeds.store.publish(feed_id, "first")
    watcher = Recorder()
    await delivery.watch([Want(feed_id, "feed")], watcher)
    assert [event.kind for event in watcher.events] == ["snapshot", "status"]
    assert watcher.last("snapshot")["data"] == "first"
    for value in range(3):
        await feeds.store.publish(feed_id, value)
    await watcher.until(
        lambda: watcher.told() == [("snapshot", 1), ("update", 2), ("update", 3), ("update", 4)]
    )


async def test_who_comes_back_gets_what_was_missed_in_order(
    feeds: Feeds, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "PAGE", 2)
    feed_id = await make_feed(feeds)
    for value in range(7):
        await feeds.store.publish(feed_id, value)
    epoch = (await position_of(feeds, feed_id)).epoch
    watcher = Recorder()
    await delivery.watch([Want(feed_id, "feed", Position(epoch, 2))], watcher)
    assert watcher.told() == [("update", offset) for offset in range(3, 8)]
    assert watcher.events[-1].kind == "status"


async def test_who_missed_nothing_is_told_the_status_alone(feeds: Feeds, delivery: Delivery) -> None:
    feed_id = await make_feed(feeds)
    await feeds.store.publish(feed_id, 1)
    watcher = Recorder()
    await delivery.watch([Want(feed_id, "feed", await position_of(feeds, feed_id))], watcher)
    assert [event.kind for event in watcher.events] == ["status"]


@pytest.mark.parametrize("offset", [0, 1])
async def test_a_position_that_was_trimmed_is_reset(feeds: Feeds, delivery: Delivery, offset: int) -> None:
    feed_id = await make_feed(feeds)
    await asyncio.gather(*(feeds.store.publish(feed_id, value) for value in range(5)))
    await feeds.database.write(JournalEntry.objects.filter(feed_id=feed_id, offset__lte=2).delete)
    epoch = (await position_of(feeds, feed_id)).epoch
    watcher = Recorder()
    await delivery.watch([Want(feed_id, "feed", Position(epoch, offset))], watcher)
    assert watcher.told() == [("reset", 5)]
    still_there = Recorder()
    await delivery.watch([Want(feed_id, "feed", Position(epoch, 2))], still_there)
    assert still_there.told() == [("update", 3), ("update", 4), ("update", 5)]


@pytest.mark.parametrize("position", [Position("another", 1), Position("", 99)])
async def test_a_position_of_another_life_or_of_the_future_is_reset(
    feeds: Feeds, delivery: Delivery, position: Position
) -> None:
    feed_id = await make_feed(feeds)
    await feeds.store.publish(feed_id, "now")
    here = await position_of(feeds, feed_id)
    watcher = Recorder()
    await delivery.watch(
        [Want(feed_id, "feed", Position(position.epoch or here.epoch, position.offset))], watcher
    )
    assert watcher.told() == [("reset", 1)]
    await feeds.store.publish(feed_id, "next")
    await watcher.until(lambda: watcher.told() == [("reset", 1), ("update", 2)])


async def test_a_status_is_pushed(feeds: Feeds, delivery: Delivery) -> None:
    feed_id = await make_feed(feeds)
    watcher = Recorder()
    await delivery.watch([Want(feed_id, "feed")], watcher)
    await feeds.store.write(Write(feed_id, health=Health("failing", None, None, "HTTP 503")))
    await watcher.until(lambda: watcher.last("status")["error"] == "HTTP 503")


async def test_a_commit_that_nobody_announced_is_found(feeds: Feeds, delivery: Delivery) -> None:
    feed_id = await make_feed(feeds)
    watcher = Recorder()
    await delivery.watch([Want(feed_id, "feed")], watcher)
    await feeds.database.write(commit, [Write(feed_id, '"elsewhere"'), Write(feed_id, '"again"')])
    await watcher.until(lambda: watcher.told() == [("snapshot", 0), ("update", 1), ("update", 2)])
    await feeds.database.write(commit, [Write(feed_id, health=Health("failing", None, None, "quietly"))])
    await watcher.until(lambda: watcher.last("status")["error"] == "quietly")


async def test_a_feed_that_is_reborn_is_reset(feeds: Feeds, delivery: Delivery) -> None:
    feed_id = await make_feed(feeds)
    await feeds.store.publish(feed_id, 1)
    watcher = Recorder()
    await delivery.watch([Want(feed_id, "feed")], watcher)

    def rebirth() -> None:
        JournalEntry.objects.filter(feed_id=feed_id).delete()
        Feed.objects.filter(pk=feed_id).update(epoch=new_epoch(), offset=0, digest="")

    await feeds.database.write(rebirth)
    await feeds.store.publish(feed_id, "new life")
    await watcher.until(lambda: watcher.events[-1].kind in ("reset", "update") and len(watcher.told()) > 1)
    assert watcher.last("reset")["epoch"] == (await position_of(feeds, feed_id)).epoch


async def test_a_deleted_feed_is_gone(feeds: Feeds, delivery: Delivery) -> None:
    feed_id = await make_feed(feeds)
    watcher = Recorder()
    await delivery.watch([Want(feed_id, "feed")], watcher)
    await feeds.database.write(Feed.objects.filter(pk=feed_id).delete)
    await watcher.until(lambda: watcher.events[-1].kind == "gone")
    late = Recorder()
    await delivery.watch([Want(feed_id, "feed")], late)
    assert [event.kind for event in late.events] == ["gone"]


async def test_nobody_is_told_after_leaving(feeds: Feeds, delivery: Delivery) -> None:
    feed_id = await make_feed(feeds)
    gone, here = Recorder(), Recorder()
    watch = await delivery.watch([Want(feed_id, "feed")], gone)
    await delivery.watch([Want(feed_id, "feed")], here)
    watch.leave()
    watch.leave()
    await feeds.store.publish(feed_id, 1)
    await here.until(lambda: len(here.told()) == 2)
    assert gone.told() == [("snapshot", 0)]


async def test_a_thousand_joining_clients_cost_a_handful_of_reads(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = Delivery(feeds, position_check_s=3600)
    feed_id = await make_feed(feeds)
    await asyncio.gather(*(feeds.store.publish(feed_id, value) for value in range(50)))
    epoch = (await position_of(feeds, feed_id)).epoch
    reads: list[object] = []
    real = feeds.database.read

    async def counting(unit: Callable[..., Any], *args: Any) -> Any:
        reads.append(unit)
        return await real(unit, *args)

    monkeypatch.setattr(feeds.database, "read", counting)
    watchers = [Recorder() for _ in range(1000)]
    wants = [Want(feed_id, "feed", Position(epoch, 40) if n % 2 else None) for n in range(1000)]
    await asyncio.gather(*(delivery.watch([want], each) for want, each in zip(wants, watchers, strict=True)))
    assert watchers[0].told() == [("snapshot", 50)]
    assert watchers[1].told() == [("update", offset) for offset in range(41, 51)]
    assert len(reads) <= 10, len(reads)
    await delivery.aclose()


async def test_a_journal_that_cannot_be_read_is_unavailable_and_leaves_nothing_watched(
    feeds: Feeds, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed_id = await make_feed(feeds)

    async def broken(*args: object) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(feeds.database, "read", broken)
        with pytest.raises(Unavailable):
            await delivery.watch([Want(feed_id, "feed")], Recorder())
    assert delivery.watched() == []


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_the_layer_loses_doubles_or_reorders_everybody_gets_everything(
    feeds: Feeds, seed: int
) -> None:
    dice = random.Random(seed)
    feeds.broker = Broker(FaultyLayer(dice), feeds.supervisor)
    feeds.store = Store(feeds.database, feeds.broker.announce)
    delivery = Delivery(feeds, position_check_s=0.2)
    feed_id = await make_feed(feeds)
    epoch = (await position_of(feeds, feed_id)).epoch
    watchers: list[tuple[Recorder, int]] = []

    async def come(published: int) -> None:
        watcher, since = Recorder(), dice.choice([None, dice.randint(0, published)])
        watchers.append((watcher, -1 if since is None else since))
        position = None if since is None else Position(epoch, since)
        await delivery.watch([Want(feed_id, "feed", position)], watcher)

    async with asyncio.TaskGroup() as group:
        for value in range(1, 121):
            await feeds.store.publish(feed_id, value)
            if value % 10 == 0:
                group.create_task(come(value))
    for watcher, since in watchers:
        await watcher.until(
            lambda watcher=watcher: watcher.told()[-1:] == [("update", 120)] or _is_at(watcher, 120)
        )
        told = watcher.told()
        first = told[0][1] if since < 0 else since + 1
        assert [offset for _, offset in told] == list(range(first, 121)) or told == [], (since, told)
    await delivery.aclose()


def _is_at(watcher: Recorder, offset: int) -> bool:
    """Whether it stands there by its snapshot, or came with that position and missed nothing."""
    told = watcher.told()
    return (told[-1][1] == offset) if told else bool(watcher.events)
