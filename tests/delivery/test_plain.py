"""The plain WebSocket: what comes first, what comes then, and how it resumes."""

from __future__ import annotations

import logging

import pytest

from realtime.delivery import plain
from realtime.delivery.turnstile import Turnstile
from realtime.errors import Unavailable
from realtime.feeds.catalog import delete_feed
from tests.delivery.conftest import House


async def test_the_value_comes_first_then_the_status_then_every_change(house: House) -> None:
    await house.add_feed("temperature", 20)
    socket = await house.connect("/ws/feeds/temperature/")
    first = await socket.read()
    assert set(first) == {"type", "feed", "epoch", "offset", "published_at", "data"}
    assert (first["type"], first["feed"], first["offset"], first["data"]) == (
        "snapshot",
        "temperature",
        1,
        20,
    )
    status = await socket.read()
    assert set(status) == {"type", "feed", "state", "last_ok_at", "next_poll_at", "error"}
    assert (status["type"], status["state"], status["error"]) == ("status", "fresh", "")
    for value in (21, 22, {"deep": [1, None, "ü"]}):
        await house.publish("temperature", value)
    assert await socket.read_values(3) == [21, 22, {"deep": [1, None, "ü"]}]


async def test_a_feed_without_publications_begins_with_null_at_offset_0(house: House) -> None:
    await house.add_feed("empty")
    socket = await house.connect("/ws/feeds/empty/")
    first = await socket.read()
    assert (first["type"], first["offset"], first["published_at"], first["data"]) == (
        "snapshot",
        0,
        None,
        None,
    )


async def test_a_client_that_resumes_gets_what_it_missed_in_order(house: House) -> None:
    await house.add_feed("count", 1)
    since = await house.publish("count", 2)
    for value in range(3, 250):
        await house.publish("count", value)
    socket = await house.connect(f"/ws/feeds/count/?since={since}")
    first = await socket.read()
    assert (first["type"], first["offset"], first["data"]) == ("update", 3, 3)
    assert await socket.read_values(246) == list(range(4, 250))
    assert (await socket.read())["type"] == "status"


async def test_a_client_that_has_everything_gets_only_the_status(house: House) -> None:
    await house.add_feed("count", 1)
    since = await house.publish("count", 2)
    socket = await house.connect(f"/ws/feeds/count/?since={since}")
    assert (await socket.read())["type"] == "status"
    assert await socket.is_silent()


@pytest.mark.parametrize("since", ["foreign:1", "{epoch}:99"])
async def test_a_position_that_is_not_of_this_stream_is_reset(house: House, since: str) -> None:
    await house.add_feed("count", 1)
    epoch = (await house.publish("count", 2)).split(":")[0]
    socket = await house.connect(f"/ws/feeds/count/?since={since.format(epoch=epoch)}")
    first = await socket.read()
    assert (first["type"], first["offset"], first["data"]) == ("reset", 2, 2)
    assert (await socket.read())["type"] == "status"


async def test_a_ping_is_answered(house: House) -> None:
    await house.add_feed("count")
    socket = await house.connect("/ws/feeds/count/")
    await socket.send('{"type": "ping"}')
    kinds = [(await socket.read())["type"] for _ in range(3)]
    assert [kind for kind in kinds if kind != "pong"] == ["snapshot", "status"]
    assert kinds.count("pong") == 1


async def test_many_feeds_share_one_socket(house: House) -> None:
    await house.add_feed("a", "a1", "a2")
    since = await house.publish("a", "a3")
    await house.publish("a", "a4")
    await house.add_feed("b", "b1")
    await house.add_feed("c", "c1")
    socket = await house.connect(f"/ws/feeds/?feed=a@{since}&feed=b&feed=c@gone:5")
    started = [await socket.read() for _ in range(6)]
    of_type = {message["feed"]: message for message in started if message["type"] != "status"}
    assert {feed: (message["type"], message["data"]) for feed, message in of_type.items()} == {
        "a": ("update", "a4"),
        "b": ("snapshot", "b1"),
        "c": ("reset", "c1"),
    }
    assert sorted(message["feed"] for message in started if message["type"] == "status") == ["a", "b", "c"]
    await house.publish("c", "c2")
    assert await socket.read_values(1) == ["c2"]


async def test_a_deleted_feed_is_told_and_the_socket_lives_as_long_as_one_is_left(house: House) -> None:
    await house.add_feed("a", 1)
    await house.add_feed("b", 1)
    socket = await house.connect("/ws/feeds/?feed=a&feed=b")
    for _ in range(4):
        await socket.read()
    await house.feeds.database.write(delete_feed, "a")
    message = await socket.read()
    assert (message["type"], message["feed"], message["code"]) == ("error", "a", "gone")
    await house.publish("b", 2)
    assert await socket.read_values(1) == [2]
    await house.feeds.database.write(delete_feed, "b")
    message, code = await socket.closing()
    assert (message["code"], code) == ("gone", 4410)


async def test_a_socket_that_leaves_leaves_nothing_behind(house: House) -> None:
    await house.add_feed("count", 1)
    stays = await house.connect("/ws/feeds/count/")
    goes = await house.connect("/ws/feeds/count/")
    assert await stays.read_values(1) == [1], "both watch before anything more is published"
    await goes.read_values(1)
    await goes.leave()
    await house.publish("count", 2)
    assert await stays.read_values(1) == [2]
    await stays.leave()
    assert house.delivery._hub.watched() == []


async def test_an_unexpected_error_is_logged_once_and_closes_the_socket(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*args: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(plain.Admission, "admit", fail)
    socket = await house.connect("/ws/feeds/count/?token=secret")
    message, code = await socket.closing()
    assert (message["code"], code) == ("internal", 4500)
    assert "secret" not in message["message"]
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(records) == 1
    assert "token" not in records[0].getMessage()


async def test_a_database_that_is_away_is_told_and_the_next_socket_tries_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.add_feed("count", 1)

    async def away(*args: object) -> None:
        raise Unavailable("The database does not answer.")

    with monkeypatch.context() as broken:
        broken.setattr(house.feeds.database, "read", away)
        message, code = await (await house.connect("/ws/feeds/count/")).closing()
        assert (message["code"], code) == ("unavailable", 4503)
    assert await (await house.connect("/ws/feeds/count/")).read_values(1) == [1]


async def test_a_client_waits_for_its_turn_and_leaves_the_line_when_it_goes(
    house: House,
) -> None:
    await house.add_feed("count", 1)
    house.delivery._joins = Turnstile(1, patience_s=30)
    async with house.delivery._joins:
        leaving, staying = [await house.connect("/ws/feeds/count/") for _ in range(2)]
        for socket in (leaving, staying):
            await socket.send('{"type": "ping"}')
            assert await socket.read() == {"type": "pong"}
        assert await staying.is_silent()
        house.sockets.remove(leaving)
        await leaving.leave()
    assert await staying.read_values(1) == [1]


async def test_whose_turn_does_not_come_is_told_to_try_again(house: House) -> None:
    await house.add_feed("count", 1)
    house.delivery._joins = Turnstile(1, patience_s=0.05)
    async with house.delivery._joins:
        socket = await house.connect("/ws/feeds/count/")
        error, code = await socket.closing()
    assert (error["code"], code) == ("unavailable", 4503)
    assert house.delivery.watched() == []
