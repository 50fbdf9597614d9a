"""A right that is taken away ends what is open: at once where Django tells of it, else at the next look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from realtime.delivery.patrol import Patrol, Visit, rights_changed
from realtime.delivery.watching import Want
from realtime.errors import HeadwaterError
from realtime.feeds.access import principal_for_session
from realtime.feeds.demand import Opening
from tests.delivery.conftest import House
from tests.delivery.test_sse import Stream, streams
from tests.on_demand import GROUP, fill, row_of, until

pytestmark = pytest.mark.usefixtures("shop")
__all__ = ["streams"]

NAME = "query:sales?customer=1"


def seller(name: str) -> tuple[int, str]:
    """The key of a user who is in the group, and that of a session."""
    user = User.objects.create_user(name)
    user.groups.add(Group.objects.get_or_create(name=GROUP)[0])
    client = Client()
    client.force_login(user)
    return user.pk, str(client.session.session_key)


def cookie(session: str) -> tuple[bytes, bytes]:
    return (b"cookie", f"sessionid={session}".encode())


def leave(pk: int) -> None:
    User.objects.get(pk=pk).groups.clear()


def be_left_out(pk: int) -> None:
    Group.objects.get(name=GROUP).user_set.remove(pk)


def lose_the_group(pk: int) -> None:
    Group.objects.get(name=GROUP).delete()


def be_deleted(pk: int) -> None:
    User.objects.get(pk=pk).delete()


@pytest.mark.parametrize(
    ("lose", "code", "close"),
    [
        (leave, "not_allowed", 4403),
        (be_left_out, "not_allowed", 4403),
        (lose_the_group, "not_allowed", 4403),
        (be_deleted, "not_signed_in", 4401),
    ],
)
async def test_a_lost_right_closes_a_socket_at_once(
    house: House, lose: Callable[[int], None], code: str, close: int
) -> None:
    fill(house.feeds)
    pk, session = await house.feeds.database.write(seller, "mia")
    socket = await house.connect("/ws/feeds/query:sales/?customer=1", cookie(session))
    assert await socket.read_values(1) == [NAME]
    await house.feeds.database.write(lose, pk)
    message, closed = await socket.closing()
    assert (message["code"], message["field"], closed) == (code, "feed", close)


async def test_a_lost_right_ends_a_stream_and_nobody_elses(house: House, streams: list[Stream]) -> None:
    fill(house.feeds)
    pk, session = await house.feeds.database.write(seller, "mia")
    _, other = await house.feeds.database.write(seller, "max")
    goes, stays = [Stream("/feeds/query:sales/events?customer=1", cookie(each)) for each in (session, other)]
    for stream in (goes, stays):
        streams.append(stream)
        assert await stream.open() == 200
        await stream.event()
        await stream.event()
    await house.feeds.database.write(leave, pk)
    _, event = await asyncio.wait_for(goes.event(), 20)
    assert (event["type"], event["code"]) == ("error", "not_allowed")
    await house.feeds.store.publish((await row_of(house.feeds, NAME)).feed_id, 2)
    _, event = await stays.event()
    assert event["data"] == 2


async def test_what_django_does_not_tell_of_is_noticed_when_rights_are_looked_at_again(house: House) -> None:
    fill(house.feeds)
    pk, session = await house.feeds.database.write(seller, "mia")
    socket = await house.connect(
        "/ws/feeds/?feed=query:open%3Fcustomer=1&feed=query:sales%3Fcustomer=1", cookie(session)
    )
    await socket.read_values(2)
    await Patrol.of(house.feeds).go_round()
    await house.feeds.store.publish((await row_of(house.feeds, NAME)).feed_id, 2)
    assert await socket.read_values(1) == [2]
    through = User.groups.through
    await house.feeds.database.write(lambda: through.objects.filter(user_id=pk).delete())
    await Patrol.of(house.feeds).go_round()
    message, closed = await socket.closing()
    assert (message["code"], NAME in message["message"], closed) == ("not_allowed", True, 4403)


async def test_rights_that_changed_while_somebody_came_in_count(house: House) -> None:
    fill(house.feeds)
    pk, session = await house.feeds.database.write(seller, "mia")
    principal = await house.feeds.database.read(principal_for_session, session)
    ref = await Opening.of(house.feeds).open(NAME, principal)
    patrol = Patrol.of(house.feeds)
    await patrol.listen()
    through = User.groups.through
    await house.feeds.database.write(lambda: through.objects.filter(user_id=pk).delete())
    await house.feeds.database.write(rights_changed, [pk])

    async def has_heard() -> bool:
        return str(pk) in patrol._changed

    await until(has_heard)
    lost: asyncio.Future[HeadwaterError] = asyncio.get_running_loop().create_future()
    patrol.enter(Visit(principal, [Want(ref.id, ref.slug)], lost.set_result))
    assert (await asyncio.wait_for(lost, 20)).code == "not_allowed"


async def test_a_change_that_takes_nothing_away_ends_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(house.feeds)
    pk, session = await house.feeds.database.write(seller, "mia")
    socket = await house.connect("/ws/feeds/query:sales/?customer=1", cookie(session))
    await socket.read_values(1)
    checked = asyncio.Event()
    check = Patrol._check

    async def note(self: Patrol, visits: Any) -> None:
        await check(self, visits)
        checked.set()

    monkeypatch.setattr(Patrol, "_check", note)

    def rename() -> None:
        user = User.objects.get(pk=pk)
        user.first_name = "Mia"
        user.save()

    await house.feeds.database.write(rename)
    await asyncio.wait_for(checked.wait(), 20)
    await house.feeds.store.publish((await row_of(house.feeds, NAME)).feed_id, 2)
    assert await socket.read_values(1) == [2]
