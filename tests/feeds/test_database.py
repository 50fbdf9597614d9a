"""Units of work: off the loop, bounded, and with one kind of error for a database that is away."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import OperationalError, connection

from realtime.errors import Unavailable
from realtime.feeds import database as database_module
from realtime.feeds.database import Database
from realtime.feeds.models import Feed
from tests.held_unit import HeldUnit

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_slow_unit_delays_neither_the_loop_nor_other_units() -> None:
    database = Database(threads=2)
    release = threading.Event()
    slow = asyncio.create_task(database.read(release.wait, 60))
    try:
        assert await asyncio.wait_for(database.read(Feed.objects.count), 30) == 0
        assert not slow.done()
    finally:
        release.set()
        await slow
        await database.aclose()


async def test_a_database_that_fails_is_unavailable() -> None:
    database = Database(threads=1)

    def broken() -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with pytest.raises(Unavailable):
        await database.read(broken)
    assert await database.read(Feed.objects.count) == 0
    await database.aclose()


async def test_more_units_than_may_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "WAITING_LIMIT", 2)
    database = Database(threads=1)
    release = threading.Event()
    waiting = [asyncio.create_task(database.read(release.wait, 60)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="too much waiting"):
        await database.read(Feed.objects.count)
    release.set()
    await asyncio.gather(*waiting)
    assert await database.read(Feed.objects.count) == 0
    await database.aclose()


@pytest.mark.parametrize("waits", [False, True], ids=["begun", "in line"])
async def test_a_unit_that_is_to_be_finished_is_waited_for_by_who_was_cancelled(
    monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    monkeypatch.setattr(database_module, "FINISH_S", 60)
    database = Database(threads=1)
    held, late = HeldUnit(lambda: 7), list[int]()
    before = [asyncio.create_task(database.write(held))] if waits else []
    finishing = asyncio.create_task(database.finish((lambda: 7) if waits else held, late=late.append))
    await held.begun()
    finishing.cancel()
    assert not (await asyncio.wait({finishing}, timeout=0.1))[0]
    held.let_go()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    assert late == [7]
    await asyncio.gather(*before)
    await database.aclose()


async def test_a_unit_that_is_to_be_finished_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database_module, "FINISH_S", 0.01)
    database = Database(threads=1)
    held, late = HeldUnit(), list[None]()
    finishing = asyncio.create_task(database.finish(held, late=late.append))
    await held.begun()
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(finishing, 30)
    assert late == []
    held.let_go()
    await database.aclose()


@pytest.mark.parametrize("error", [OperationalError("away"), ValueError("a mistake")], ids=["away", "broken"])
async def test_a_unit_that_fails_meanwhile_does_not_undo_the_cancellation(error: Exception) -> None:
    def fail() -> None:
        raise error

    database = Database(threads=1)
    held = HeldUnit(fail)
    finishing = asyncio.create_task(database.finish(held))
    await held.begun()
    finishing.cancel()
    held.let_go()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    await database.aclose()


async def test_closing_closes_the_connections_of_every_thread() -> None:
    database = Database(threads=2)
    connections: list[object] = []

    def connect() -> None:
        connection.ensure_connection()
        connections.append(connection._connections[connection._alias])  # type: ignore[attr-defined]

    await database.read(connect)
    await database.write(connect)
    await database.aclose()
    assert connections
    assert all(each.connection is None for each in connections)  # type: ignore[attr-defined]
