"""Live queries at the plain doors: opened by any spelling, answered under the one true name, kept wanted."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from realtime.feeds import demand
from realtime.feeds.access import create_token
from realtime.feeds.models import Demand
from tests.delivery.conftest import House
from tests.delivery.test_sse import Stream, streams
from tests.on_demand import fill, row_of, until

pytestmark = pytest.mark.usefixtures("shop")
__all__ = ["streams"]

NAME = "query:open?customer=42"


async def ids(house: House, *names: str) -> list[int]:
    return [(await row_of(house.feeds, name)).feed_id for name in names]


@pytest.mark.parametrize(
    "path",
    [
        "/ws/feeds/query:open/?customer=42",
        f"/ws/feeds/{quote('query:open?page=1&customer=42', safe='')}/",
        "/ws/feeds/query:open%3Fpage=1/?customer=42&token=",
        f"/ws/feeds/?feed={quote('query:open?customer=42&page=1', safe='')}",
    ],
)
async def test_a_socket_watches_a_query_by_any_spelling(house: House, path: str) -> None:
    fill(house.feeds, lambda slug: [])
    _, token = await house.feeds.database.write(create_token, "reader", ["read"])
    socket = await house.connect(path.replace("token=", f"token={token}"))
    message = await socket.read()
    assert (message["type"], message["feed"], message["data"]) == ("snapshot", NAME, [])
    status = await socket.read()
    assert (status["feed"], status["state"]) == (NAME, "fresh")
    (feed_id,) = await ids(house, NAME)
    await house.feeds.store.publish(feed_id, [1])
    update = await socket.read()
    assert (update["type"], update["feed"], update["offset"], update["data"]) == ("update", NAME, 2, [1])


async def test_a_socket_that_comes_back_gets_what_it_missed(house: House) -> None:
    fill(house.feeds, lambda slug: 1)
    first = await house.connect("/ws/feeds/query:open/?customer=42")
    message = await first.read()
    await first.leave()
    (feed_id,) = await ids(house, NAME)
    for value in (2, 3):
        await house.feeds.store.publish(feed_id, value)
    position = f"{message['epoch']}:{message['offset']}"
    for path in (
        f"/ws/feeds/query:open/?customer=42&since={position}",
        f"/ws/feeds/?feed={quote(f'{NAME}@{position}', safe='')}",
    ):
        assert await (await house.connect(path)).read_values(2) == [2, 3]


async def test_a_block_of_a_page_is_a_feed_of_its_own(house: House, streams: list[Stream]) -> None:
    fill(house.feeds)
    block = f"{NAME}#orders/list.html:0123abcd"
    in_path = quote(block, safe="")
    for path in (f"/ws/feeds/{in_path}/", f"/ws/feeds/?feed={in_path}"):
        assert await (await house.connect(path)).read_values(1) == [block]
    stream = Stream(f"/feeds/{in_path}/events")
    streams.append(stream)
    assert await stream.open() == 200
    assert (await stream.event())[1]["data"] == block
    assert (await row_of(house.feeds, block)).base == NAME


async def test_queries_and_other_feeds_share_a_socket(house: House) -> None:
    await house.add_feed("quotes", "q")
    fill(house.feeds)
    names = [NAME, "query:open?customer=43"]
    said = "&".join(f"feed={quote(name, safe='')}" for name in names)
    socket = await house.connect(f"/ws/feeds/?feed=quotes&{said}")
    assert sorted(await socket.read_values(3)) == ["q", *names]


async def test_one_query_by_two_spellings_is_refused(house: House) -> None:
    fill(house.feeds)
    both = "&".join(f"feed={quote(name, safe='')}" for name in (NAME, f"{NAME}&page=1"))
    message, code = await (await house.connect(f"/ws/feeds/?{both}")).closing()
    assert (message["code"], message["message"], code) == (
        "bad_input",
        f"feed: {NAME} is named twice.",
        4400,
    )


@pytest.mark.parametrize(
    ("name", "code", "field", "close"),
    [
        ("query:nothing", "not_found", "feed", 4404),
        ("query:sales?customer=1", "not_found", "feed", 4404),
        ("query:open?customer=x", "bad_input", "params.customer", 4400),
        ("query:broken", "error", None, 4500),
    ],
)
async def test_a_socket_that_may_not_is_told_so(
    house: House, name: str, code: str, field: str | None, close: int
) -> None:
    for path in (f"/ws/feeds/{quote(name, safe='')}/", f"/ws/feeds/?feed=a&feed={quote(name, safe='')}"):
        message, closed = await (await house.connect(path)).closing()
        assert (message["code"], message["field"], closed) == (code, field, close)


async def test_each_user_gets_the_users_own(house: House) -> None:
    fill(house.feeds)

    def sign_in(name: str) -> tuple[int, tuple[bytes, bytes]]:
        client = Client()
        user = User.objects.create_user(name)
        client.force_login(user)
        return user.pk, (b"cookie", f"sessionid={client.session.session_key}".encode())

    mia, mias = await house.feeds.database.write(sign_in, "mia")
    max_, maxs = await house.feeds.database.write(sign_in, "max")
    for cookie, pk in ((mias, mia), (maxs, max_)):
        socket = await house.connect("/ws/feeds/query:mine/?customer=1", cookie)
        assert await socket.read_values(1) == [f"query:mine?customer=1&user={pk}"]
    message, code = await (
        await house.connect(f"/ws/feeds/query:mine/?customer=1&user={mia}", maxs)
    ).closing()
    assert (message["code"], code) == ("not_found", 4404)
    _, token = await house.feeds.database.write(create_token, "reader", ["read"])
    screen = await house.connect(f"/ws/feeds/query:mine/?customer=1&user={mia}&token={token}")
    assert await screen.read_values(1) == [f"query:mine?customer=1&user={mia}"]


async def test_a_stream_watches_a_query_and_comes_back(house: House, streams: list[Stream]) -> None:
    fill(house.feeds, lambda slug: 1)
    first = Stream("/feeds/query:open/events?customer=42")
    streams.append(first)
    assert await first.open() == 200
    identity, event = await first.event()
    assert (event["type"], event["feed"], event["data"]) == ("snapshot", NAME, 1)
    assert identity is not None
    (feed_id,) = await ids(house, NAME)
    await house.feeds.store.publish(feed_id, 2)
    again = Stream(f"/feeds/{quote(NAME)}/events", (b"last-event-id", identity.encode()))
    streams.append(again)
    assert await again.open() == 200
    _, event = await again.event()
    assert (event["type"], event["data"]) == ("update", 2)
    resumed = Stream("/feeds/query:open/events?customer=42", (b"last-event-id", identity.encode()))
    streams.append(resumed)
    assert await resumed.open() == 200


async def test_a_stream_that_may_not_is_refused(house: House, streams: list[Stream]) -> None:
    for name, status in (
        ("query:sales?customer=1", 404),
        ("query:open?customer=x", 400),
        ("query:open", 400),
    ):
        stream = Stream(f"/feeds/{quote(name)}/events")
        streams.append(stream)
        assert await stream.open() == status


async def test_a_watched_query_stays_wanted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand, "WANTED_AGAIN_S", 0.01)
    fill(house.feeds)
    socket = await house.connect("/ws/feeds/query:open/?customer=42")
    await socket.read_values(1)
    past = timezone.now() - timedelta(hours=1)
    await house.feeds.database.write(lambda: Demand.objects.update(wanted_until=past))

    async def is_wanted() -> bool:
        return (await row_of(house.feeds, NAME)).wanted_until > timezone.now()

    await until(is_wanted)
    await socket.leave()

    async def is_watched_by_nobody() -> bool:
        return not house.delivery.watched()

    await until(is_watched_by_nobody)
    await house.feeds.database.write(lambda: Demand.objects.update(wanted_until=past))
    before: Any = (await row_of(house.feeds, NAME)).wanted_until
    await asyncio.sleep(0.1)
    assert (await row_of(house.feeds, NAME)).wanted_until == before
