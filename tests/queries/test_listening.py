"""Listening ends with no connection: what may have been missed counts as a change of everything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator

import psycopg
import psycopg.conninfo
import pytest

from realtime.errors import Unavailable
from realtime.queries import listening
from realtime.queries.changes import EVERYTHING, Change
from realtime.queries.listening import change_from, listen
from tests.queries.hearing import Heard
from tests.services import Postgres, wait_until


def test_a_notification_is_read() -> None:
    payload = {"t": "t", "c": ["a"], "r": [{"id": 1, "b": True, "n": None, "f": 1.5, "s": "x"}]}
    told = Change("t", frozenset({"a"}), ({"id": "1", "b": "1", "n": None, "s": "x"},))
    assert change_from(json.dumps(payload)) == told
    assert change_from('{"t": "t"}') == Change("t")


@pytest.mark.parametrize(
    "payload", ["", "nonsense", "[]", "3", "{}", '{"t": "t", "c": 3}', '{"t": "t", "r": [3]}', '{"c": ["a"]}']
)
def test_one_that_cannot_be_read_counts_as_a_change_of_everything(payload: str) -> None:
    assert change_from(payload) == EVERYTHING


class Listening:
    """A listener on a server of the tests' own."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.heard = Heard()
        self.begun = 0
        self.fails = False

    async def tell(self, change: Change) -> None:
        self.heard.tell([change])

    async def begin(self) -> None:
        self.begun += 1
        if self.fails:
            raise Unavailable("not now")

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def pids(self) -> list[int]:
        of = f"SELECT pid FROM pg_stat_activity WHERE application_name = '{listening.APPLICATION}'"
        return [int(str(pid)) for (pid,) in self.sql(of)]

    async def pid(self) -> int:
        """That of its one connection."""
        await asyncio.to_thread(wait_until, lambda: len(self.pids()) == 1, "it has one connection")
        return self.pids()[0]

    async def until_everything(self) -> None:
        await self.heard.until(lambda: EVERYTHING in self.heard.changes)
        self.heard.changes.clear()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
async def listener(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listening]:
    parameters = psycopg.conninfo.conninfo_to_dict(
        server.url, fallback_application_name=listening.APPLICATION
    )
    monkeypatch.setattr(listening, "_parameters", lambda: parameters)
    listener = Listening(server)
    # A backend outlives its connection for a moment: that of the test before.
    await asyncio.to_thread(wait_until, lambda: not listener.pids(), "nobody listens any more")
    task = asyncio.create_task(listen(listener.tell, listener.begin))
    try:
        await listener.until_everything()
        yield listener
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_after_a_restart_everything_is_told_again_and_then_each_change(listener: Listening) -> None:
    listener.server.kill()
    listener.server.start()
    await listener.until_everything()
    listener.sql("""NOTIFY headwater_changes, '{"t": "t"}'""")
    assert await listener.heard.of("t") == Change("t")
    assert listener.begun == 2


async def test_a_connection_that_was_ended_is_replaced(listener: Listening) -> None:
    listener.sql(f"SELECT pg_terminate_backend({await listener.pid()})")
    await listener.until_everything()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "ECHO_EVERY_S", 0.2)
    monkeypatch.setattr(listening, "ANSWER_S", 0.5)


async def test_a_connection_that_carries_nothing_any_more_is_replaced(
    impatient: None, listener: Listening
) -> None:
    """As one that a pooler lends to others, or whose other end hangs."""
    pid = await listener.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        await listener.until_everything()
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_while_it_cannot_begin_it_tries_again(listener: Listening) -> None:
    listener.fails = True
    before = listener.begun
    listener.sql(f"SELECT pg_terminate_backend({await listener.pid()})")
    await asyncio.to_thread(wait_until, lambda: listener.begun >= before + 2, "it tries again")
    assert not listener.heard.changes
    listener.fails = False
    await listener.until_everything()


async def test_when_it_ends_its_connection_is_closed(listener: Listening) -> None:
    pid = await listener.pid()
    task = next(task for task in asyncio.all_tasks() if "listen" in repr(task.get_coro()))
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await asyncio.to_thread(wait_until, lambda: pid not in listener.pids(), "its connection is closed")
