"""Who may read over the plain WebSocket: owner, member and stranger; and what happens when that ends."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from realtime.delivery.patrol import Patrol
from realtime.feeds.access import create_token
from realtime.feeds.catalog import change_feed
from realtime.feeds.models import ApiToken, Feed
from tests.delivery.conftest import House


def _sign_in(name: str, *, staff: bool = False) -> tuple[bytes, bytes]:
    client = Client()
    client.force_login(User.objects.create_user(name, is_staff=staff))
    return (b"cookie", f"sessionid={client.session.session_key}".encode())


async def test_owner_and_member_read_what_is_not_public(house: House) -> None:
    await house.add_feed("secret", 1, public=False)
    for cookie in (
        await house.feeds.database.write(lambda: _sign_in("olga", staff=True)),
        await house.feeds.database.write(lambda: _sign_in("mia")),
    ):
        socket = await house.connect("/ws/feeds/secret/", cookie)
        assert await socket.read_values(1) == [1]


@pytest.mark.parametrize(("scope", "reads"), [("read", True), ("manage", True), ("publish", False)])
async def test_a_token_reads_by_its_scope(house: House, scope: str, reads: bool) -> None:
    await house.add_feed("secret", 1, public=False)
    _, token = await house.feeds.database.write(create_token, "t", [scope])
    socket = await house.connect("/ws/feeds/secret/", (b"authorization", f"Bearer {token}".encode()))
    if reads:
        assert await socket.read_values(1) == [1]
    else:
        message, code = await socket.closing()
        assert (message["code"], code) == ("not_found", 4404)


async def test_a_revoked_token_closes_its_sockets_and_no_others(house: House) -> None:
    await house.add_feed("secret", 1, public=False)
    row, token = await house.feeds.database.write(create_token, "revoked", ["read"])
    _, other = await house.feeds.database.write(create_token, "other", ["read"])
    goes = await house.connect(f"/ws/feeds/secret/?token={token}")
    stays = await house.connect(f"/ws/feeds/secret/?token={other}")
    await goes.read_values(1)
    await stays.read_values(1)
    await house.feeds.database.write(lambda: ApiToken.objects.filter(pk=row.pk).update(revoked=True))
    await Patrol.of(house.feeds).go_round()
    message, code = await goes.closing()
    assert (message["code"], code) == ("not_signed_in", 4401)
    await house.publish("secret", 2)
    assert await stays.read_values(1) == [2]


async def test_a_deactivated_user_loses_what_is_not_public(house: House) -> None:
    await house.add_feed("secret", 1, public=False)
    await house.add_feed("open", 1)
    cookie = await house.feeds.database.write(lambda: _sign_in("mia"))
    goes = await house.connect("/ws/feeds/?feed=secret&feed=open", cookie)
    stays = await house.connect("/ws/feeds/open/", cookie)
    await goes.read_values(2)
    await stays.read_values(1)
    await house.feeds.database.write(lambda: User.objects.filter(username="mia").update(is_active=False))
    await Patrol.of(house.feeds).go_round()
    message, code = await goes.closing()
    assert (message["code"], message["field"], code) == ("not_signed_in", "feed", 4401)
    await house.publish("open", 2)
    assert await stays.read_values(1) == [2]


async def test_a_feed_that_is_not_public_any_more_is_closed_to_strangers(house: House) -> None:
    await house.add_feed("open", 1)
    _, token = await house.feeds.database.write(create_token, "publisher", ["publish"])
    stranger = await house.connect("/ws/feeds/open/")
    publisher = await house.connect(f"/ws/feeds/open/?token={token}")
    await stranger.read_values(1)
    await publisher.read_values(1)
    await house.feeds.database.write(lambda: change_feed("open", public=False))
    await Patrol.of(house.feeds).go_round()
    message, code = await stranger.closing()
    assert (message["code"], code) == ("not_signed_in", 4401)
    message, code = await publisher.closing()
    assert (message["code"], code) == ("not_allowed", 4403)


async def test_a_channel_is_read_by_those_with_the_right_and_not_by_every_member(house: House) -> None:
    channel = await house.feeds.database.write(
        lambda: Feed.objects.create(slug="chat:a@b", title="chat:a@b", kind=Feed.Kind.CHANNEL).pk
    )
    position = (await house.feeds.store.publish(channel, "one")).position
    await house.feeds.store.publish(channel, "two")
    _, token = await house.feeds.database.write(create_token, "reader", ["read"])
    by_path = await house.connect(f"/ws/feeds/chat:a@b/?token={token}")
    assert await by_path.read_values(1) == ["two"]
    by_query = await house.connect(f"/ws/feeds/?feed=chat:a%40b@{position}&token={token}")
    assert await by_query.read_values(1) == ["two"]
    staff = await house.feeds.database.write(lambda: _sign_in("olga", staff=True))
    own = await house.connect("/ws/feeds/chat:a@b/", staff)
    assert await own.read_values(1) == ["two"]
    member = await house.connect(
        "/ws/feeds/chat:a@b/", await house.feeds.database.write(lambda: _sign_in("mia"))
    )
    message, code = await member.closing()
    assert (message["code"], code) == ("not_found", 4404)
    # Not staff any more: a member like any other.
    await house.feeds.database.write(lambda: User.objects.filter(username="olga").update(is_staff=False))
    await Patrol.of(house.feeds).go_round()
    message, code = await own.closing()
    assert (message["code"], code) == ("not_allowed", 4403)
    await house.feeds.store.publish(channel, "three")
    assert await by_path.read_values(1) == ["three"]
