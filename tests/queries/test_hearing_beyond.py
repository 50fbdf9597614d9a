"""Tables that evaluations read beyond their declarations stay heard, whatever others do to the triggers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime.feeds.runtime import Feeds
from realtime.queries import triggers
from realtime.queries.changes import EVERYTHING
from realtime.queries.heard import heard_names
from realtime.queries.hearing import Hearing
from tests.queries.evaluating import until
from tests.queries.hearing import Heard, ended

pytestmark = pytest.mark.django_db(transaction=True)

BEYOND = ["auth_group"]


@asynccontextmanager
async def hearing_beyond(feeds: Feeds) -> AsyncIterator[None]:
    """An engine hears a table that no declaration shows."""
    changes = Heard()
    hearing = Hearing(feeds, changes.tell)
    task = asyncio.create_task(hearing.run())
    try:
        await changes.until(lambda: EVERYTHING in changes.changes)
        hearing.read(BEYOND)
        await is_heard(feeds)
        yield
    finally:
        await ended(task)
        await feeds.database.write(triggers.install)


async def is_heard(feeds: Feeds) -> None:
    await until(feeds, lambda: not triggers.differences(BEYOND).untold, "every table has its triggers")


async def test_what_others_remove_as_superfluous_an_engine_that_reads_it_makes_again(feeds: Feeds) -> None:
    async with hearing_beyond(feeds):
        await feeds.database.write(triggers.install)
        await is_heard(feeds)


async def test_an_engine_makes_none_while_all_are_to_go_and_its_own_once_the_others_are_back(
    feeds: Feeds,
) -> None:
    hearing = Hearing(feeds, Heard().tell)  # not run: the test says what it hears, and when
    hearing._also = frozenset(BEYOND)
    await hearing._begin()
    await feeds.database.write(triggers.remove)
    await hearing._take([EVERYTHING])
    assert not hearing._more.is_set()
    await feeds.database.write(triggers.install)
    await hearing._take([EVERYTHING])
    assert hearing._more.is_set()


def test_those_of_declared_queries_go_first_so_that_engines_know_that_all_are_to_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    triggers.install()
    triggers.ensure(BEYOND)
    gone: list[str] = []
    monkeypatch.setattr(triggers, "_change", lambda trigger, _: gone.append(trigger.table))
    triggers.remove()
    monkeypatch.undo()
    assert {*gone} >= {*BEYOND, *heard_names()}
    assert gone == sorted(gone, key=lambda table: table not in heard_names())
    triggers.install()
