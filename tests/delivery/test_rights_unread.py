"""A database that is away for a moment delays a look at rights, and loses none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from realtime.delivery import patrol as patrol_module
from realtime.delivery.patrol import Patrol, Visit, rights_changed
from realtime.delivery.watching import Want
from realtime.errors import HeadwaterError, Unavailable
from realtime.feeds.access import Principal
from realtime.feeds.catalog import create_feed
from realtime.feeds.database import Database
from realtime.feeds.runtime import Feeds

pytestmark = pytest.mark.django_db(transaction=True)

Lost = asyncio.Future[HeadwaterError]


@pytest.fixture
async def patrol(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> Patrol:
    """One whose first look fails. Nothing but the loss of a right has it look."""
    real_conf, real_read = patrol_module.conf(), Database.read
    fails = iter([True])

    async def read(self: Database, unit: Callable[..., Any], *args: Any) -> Any:
        if unit is patrol_module._look_again and next(fails, False):
            raise Unavailable("for a moment")
        return await real_read(self, unit, *args)

    monkeypatch.setattr(Database, "read", read)
    monkeypatch.setattr(patrol_module, "conf", lambda: real_conf.model_copy(update={"access_check_s": 600}))
    monkeypatch.setattr(patrol_module, "RETRY_S", 0.02)
    patrol = Patrol.of(feeds)
    await patrol.listen()
    return patrol


@pytest.fixture
async def want(feeds: Feeds) -> Want:
    """A feed that is not public."""
    ref = await feeds.database.write(lambda: create_feed("secret", public=False))
    return Want(ref.id, ref.slug)


def enter(patrol: Patrol, want: Want, key: int) -> Lost:
    """When a user who does not exist any more loses what is open."""
    lost: Lost = asyncio.get_running_loop().create_future()
    patrol.enter(Visit(Principal("user", key, "gone", frozenset({"read"})), [want], lost.set_result))
    return lost


async def test_a_lost_right_is_looked_at_again_when_the_database_is_back(
    feeds: Feeds, patrol: Patrol, want: Want
) -> None:
    lost = enter(patrol, want, 1)
    await feeds.database.write(rights_changed, [1])
    assert (await asyncio.wait_for(lost, 30)).code == "not_signed_in"


async def test_a_round_goes_on_behind_those_whose_rights_could_not_be_read(
    patrol: Patrol, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patrol_module, "PORTION", 1)
    everybody = [enter(patrol, want, key) for key in range(3)]
    await patrol.go_round()
    assert sum(lost.done() for lost in everybody) >= 2
    async with asyncio.timeout(30):
        await asyncio.gather(*everybody)
