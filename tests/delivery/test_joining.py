"""Many who come at once: a handful of queries serves all of them, and each gets exactly what is theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db.backends.utils import CursorWrapper

from realtime.delivery import missed
from realtime.delivery.admission import Admission
from realtime.delivery.frames import Event
from realtime.delivery.turnstile import Turnstile
from realtime.delivery.watching import Want
from realtime.errors import HeadwaterError
from realtime.feeds import journal
from realtime.feeds.access import create_token
from realtime.feeds.position import Position
from realtime.feeds.publication import Snapshot

from .conftest import HOST, House

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 300


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every SQL statement of this process from now on, whatever the thread."""
    seen: list[str] = []
    execute = CursorWrapper.execute

    def note(self: CursorWrapper, sql: str, params: Any = None) -> Any:
        seen.append(sql)
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", note)
    return seen


class Recorder:
    """A watcher that keeps the offsets and kinds that it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def deliver(self, *events: Event) -> None:
        self.told += [(event.kind, event.position.offset) for event in events if event.position is not None]

    start = deliver

    async def drain(self) -> None: ...


class Slow(Recorder):
    """One that takes nothing until it `reads`; `full` when it has been waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.full, self.reads = asyncio.Event(), asyncio.Event()

    async def drain(self) -> None:
        self.full.set()
        await self.reads.wait()


async def come_back(house: House, feed_id: int, positions: list[Position]) -> list[Recorder]:
    """One watcher for each position, all at the same time."""
    watchers = [Recorder() for _ in positions]
    await asyncio.gather(
        *(
            house.delivery.watch([Want(feed_id, "feed", position)], watcher)
            for position, watcher in zip(positions, watchers, strict=True)
        )
    )
    return watchers


async def test_all_who_come_back_at_once_are_served_by_a_handful_of_queries(
    house: House, statements: list[str]
) -> None:
    feed_id = await house.add_feed("feed")
    for value in range(MANY):
        position = await house.publish("feed", value)
    epoch = position.partition(":")[0]
    positions = [Position(epoch, offset) for offset in reversed(range(MANY))]
    statements.clear()
    watchers = await come_back(house, feed_id, positions)
    for position, watcher in zip(positions, watchers, strict=True):
        assert watcher.told == [("update", offset) for offset in range(position.offset + 1, MANY + 1)]
    assert len(statements) < 20, statements


async def test_too_much_for_one_read_is_read_in_portions(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "PAGE", 10)
    monkeypatch.setattr(missed, "LOAD_LIMIT_CHARACTERS", 1)
    feed_id = await house.add_feed("feed", *range(50))
    epoch = (await house.publish("feed", "last")).partition(":")[0]
    positions = [Position(epoch, offset) for offset in (40, 0, 51, 13, 29, 5, 22, 50)]
    watchers = await come_back(house, feed_id, positions)
    for position, watcher in zip(positions, watchers, strict=True):
        assert watcher.told == [("update", offset) for offset in range(position.offset + 1, 52)]


async def test_no_more_than_the_limit_are_read_for_at_the_same_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.delivery._joins = Turnstile(3, patience_s=30)
    feed_ids = [await house.add_feed(f"feed-{number}", number) for number in range(10)]
    loads: list[int] = []
    snapshots = journal.snapshots

    def load(asked: Collection[int]) -> dict[int, Snapshot]:
        loads.append(len(asked))
        return snapshots(asked)

    monkeypatch.setattr(journal, "snapshots", load)
    watchers = [Recorder() for _ in feed_ids]
    await asyncio.gather(
        *(
            house.delivery.watch([Want(feed_id, "feed")], watcher)
            for feed_id, watcher in zip(feed_ids, watchers, strict=True)
        )
    )
    assert all(watcher.told == [("snapshot", 1)] for watcher in watchers)
    assert sum(loads) == len(feed_ids)
    assert max(loads) <= 3


async def test_who_asks_for_what_is_about_to_be_read_needs_no_turn(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    turnstile = house.delivery._joins = Turnstile(2, patience_s=30)
    entered = 0
    enter = turnstile.__aenter__

    async def counted(self: Turnstile) -> None:
        nonlocal entered
        entered += 1
        await enter()

    monkeypatch.setattr(Turnstile, "__aenter__", counted)
    feed_ids = [await house.add_feed(f"feed-{number}", number) for number in range(2)]
    wants = [Want(feed_id, "feed") for feed_id in feed_ids]
    watchers = [Recorder() for _ in range(50)]
    await asyncio.gather(*(house.delivery.watch(wants, watcher) for watcher in watchers))
    assert all(len(watcher.told) == 2 for watcher in watchers)
    assert entered == 2


async def test_one_that_takes_its_start_slowly_keeps_nobody_waiting(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "PAGE", 2)
    house.delivery._joins = Turnstile(1, patience_s=30)
    feed_id = await house.add_feed("feed", *range(5))
    epoch = (await house.publish("feed", "last")).partition(":")[0]
    slow = Slow()
    want = Want(feed_id, "feed", Position(epoch, 0))
    starting = asyncio.create_task(house.delivery.watch([want], slow))
    async with asyncio.timeout(30):
        await slow.full.wait()
        (quick,) = await come_back(house, feed_id, [Position(epoch, 5)])
        assert quick.told == [("update", 6)]
        assert slow.told == [("update", 1), ("update", 2)]
        slow.reads.set()
        await starting
    assert slow.told == [("update", offset) for offset in range(1, 7)]


@contextmanager
def refused() -> Iterator[list[str]]:
    """The code of the refusal, if there was one."""
    codes: list[str] = []
    try:
        yield codes
    except HeadwaterError as error:
        codes.append(error.code)


async def test_who_is_let_in_shares_the_look_up_and_not_the_rights(
    house: House, statements: list[str]
) -> None:
    await house.add_feed("open")
    await house.add_feed("secret", public=False)
    _, reads = await house.feeds.database.write(create_token, "reads", ["read"])
    _, writes = await house.feeds.database.write(create_token, "writes", ["publish"])
    admission = Admission.of(house.feeds)

    async def come(query: str, slug: str) -> str:
        scope = {"headers": [HOST], "query_string": query.encode()}
        with refused() as codes:
            principal, wants = await admission.admit(scope, [(slug, None)])
            assert [want.slug for want in wants] == [slug]
            return principal.kind
        return codes[0]

    statements.clear()
    answers = await asyncio.gather(
        *(
            come(query, slug)
            for _ in range(MANY // 10)
            for query in ("", f"token={reads}", f"token={writes}", "token=hw_nonsense")
            for slug in ("open", "secret", "nothing")
        )
    )
    once = [
        *("anonymous", "not_found", "not_found"),
        *("token", "token", "not_found"),
        *("token", "not_found", "not_found"),
        *("not_signed_in", "not_signed_in", "not_signed_in"),
    ]
    assert answers == once * (MANY // 10)
    assert len(statements) < 10, statements
