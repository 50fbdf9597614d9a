"""One client and the rules of the protocol: what is answered, what ends a connection, and in which order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from realtime.delivery.centrifuge import commands, session, subscribing
from realtime.delivery.centrifuge.answer import Answer
from realtime.delivery.centrifuge.door import Door
from realtime.delivery.centrifuge.keys import secret_key
from realtime.delivery.centrifuge.tokens import Tokens
from realtime.feeds.catalog import delete_feed
from tests.conftest import SetNamespaces
from tests.delivery.conftest import House

from .signing import SECRET, signed
from .talking import OPEN, client, connected


@pytest.mark.parametrize(
    "frame",
    [
        " ",
        "{",
        "7",
        '{"subscribe":{"channel":"feed:lab"},"id":1}',
        '{"connect":{}}',
        '{"id":1,"nothing":{}}',
        '{"id":-1,"connect":{}}',
        '{"id":1,"connect":{"token":7}}',
        "{}",
    ],
)
async def test_what_is_no_first_command_ends_it_for_good(house: House, frame: str) -> None:
    one = await client(house)
    await one.tell(frame)
    told, code = await one.closed()
    assert code == told["code"] == 3501
    assert told["reason"]
    assert "reconnect" not in told


async def test_a_second_connect_ends_it_for_good(house: House) -> None:
    one = await connected(house)
    await one.tell({"id": 2, "connect": {}})
    assert (await one.closed())[1] == 3501


async def test_who_says_nothing_is_let_go(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CONNECT_WITHIN_S", 0.01)
    one = await client(house)
    assert (await one.closed())[1] == 3502


async def test_pings_are_sent_and_want_an_answer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PING_S", 0.02)
    monkeypatch.setattr(session, "PONG_WITHIN_S", 10)
    one = await connected(house)
    for _ in range(3):
        assert await one.read() == {}
        await one.tell("{}")
    monkeypatch.setattr(session, "PONG_WITHIN_S", 0.01)
    told = {}
    while not told:
        told = await one.read()
    assert told["push"]["disconnect"] == {"code": 3012, "reason": "no pong", "reconnect": True}
    assert await one.socket.closed() == 3012


async def test_a_pong_may_wait_behind_a_command(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PING_S", 0.02)
    monkeypatch.setattr(session, "PONG_WITHIN_S", 30)
    begun, missed, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(*_: Any) -> Answer:
        begun.set()
        await go_on.wait()
        return Answer({})

    miss = session.Session._miss_pong

    def miss_one(late: session.Session) -> None:
        monkeypatch.setattr(session, "PONG_WITHIN_S", 30)  # for the next one, which is read after the command
        miss(late)
        missed.set()

    monkeypatch.setitem(commands.HANDLERS, "unsubscribe", slow)
    monkeypatch.setattr(session.Session, "_miss_pong", miss_one)
    one = await connected(house)
    await one.tell({"id": 2, "unsubscribe": {"channel": "feed:lab"}})
    await begun.wait()
    monkeypatch.setattr(session, "PONG_WITHIN_S", 0.01)
    await missed.wait()
    for _ in range(3):
        assert await one.read() == {}
        await one.tell("{}")
    go_on.set()
    reply: dict[str, Any] = {}
    while not reply:
        reply = await one.read()
    assert reply == {"id": 2, "unsubscribe": {}}


async def test_a_pong_that_nobody_asked_for_ends_it(house: House) -> None:
    one = await connected(house)
    await one.tell("{}")
    assert (await one.closed())[1] == 3501


async def test_commands_of_one_frame_are_answered_in_order(house: House) -> None:
    await house.add_feed("lab", 1)
    one = await client(house)
    await one.tell(
        {"id": 1, "connect": {}},
        {"id": 2, "subscribe": {"channel": "feed:lab"}},
        {"id": 3, "unsubscribe": {"channel": "feed:lab"}},
        {"id": 4, "unsubscribe": {"channel": "feed:other"}},
        {"id": 5, "ping": {}},
    )
    replies = [await one.read() for _ in range(5)]
    assert [reply["id"] for reply in replies] == [1, 2, 3, 4, 5]
    assert replies[1]["subscribe"]["offset"] == 1
    assert replies[2]["unsubscribe"] == replies[3]["unsubscribe"] == {}
    assert replies[4]["error"]["code"] == 108


async def test_what_is_not_spoken_here_is_refused_and_the_connection_goes_on(house: House) -> None:
    await house.add_feed("lab", 1)
    one = await connected(house)
    assert (await one.ask("nothing"))["error"]["code"] == 104
    for option in ({"type": 1}, {"tf": {"op": "eq"}}):
        assert (await one.ask("subscribe", channel="feed:lab", **option))["error"]["code"] == 108
    assert (await one.ask("presence", channel="feed:lab"))["error"]["code"] == 103
    assert (await one.ask("publish", channel="feed:lab", data=1))["error"]["code"] == 103
    assert "subscribe" in await one.ask("subscribe", channel="feed:lab")
    assert (await one.ask("presence", channel="feed:lab"))["error"]["code"] == 108


async def test_what_is_published_while_one_subscribes_follows_the_reply(house: House) -> None:
    await house.add_feed("lab", 0)
    one = await connected(house)
    await one.tell({"id": 2, "subscribe": {"channel": "feed:lab"}})
    await asyncio.gather(*(house.publish("lab", number) for number in range(1, 40)))
    reply = await one.read()
    top = reply["subscribe"]["offset"]
    pushed = [(await one.read())["push"]["pub"]["offset"] for _ in range(40 - top)]
    assert pushed == list(range(top + 1, 41))


async def test_a_feed_that_one_may_not_read_is_unknown(house: House) -> None:
    await house.add_feed("secret", 1, public=False)
    one = await connected(house)
    refusals = [await one.ask("subscribe", channel=f"feed:{slug}") for slug in ("secret", "nothing", "No!")]
    assert [reply["error"]["code"] for reply in refusals] == [102, 102, 102]
    assert (await one.ask("subscribe", channel="nowhere:1"))["error"]["code"] == 102
    assert (await one.ask("subscribe", channel='"'))["error"]["code"] == 107


async def test_a_channel_is_subscribed_to_once_and_not_too_many_are(
    house: House, set_namespaces: SetNamespaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_namespaces(chat=OPEN)
    monkeypatch.setattr(subscribing, "CHANNEL_LIMIT", 2)
    one = await connected(house)
    assert "subscribe" in await one.ask("subscribe", channel="chat:1")
    assert (await one.ask("subscribe", channel="chat:1"))["error"]["code"] == 105
    assert "subscribe" in await one.ask("subscribe", channel="chat:2")
    assert (await one.ask("subscribe", channel="chat:3"))["error"]["code"] == 106
    await one.ask("unsubscribe", channel="chat:1")
    assert "subscribe" in await one.ask("subscribe", channel="chat:3")


async def test_an_unknown_delta_ends_it(house: House) -> None:
    await house.add_feed("lab", 0)
    one = await connected(house)
    await one.tell({"id": 2, "subscribe": {"channel": "feed:lab", "delta": "zip"}})
    assert (await one.closed())[1] == 3501


async def test_a_deleted_feed_ends_its_subscription_for_good(house: House) -> None:
    await house.add_feed("lab", 0)
    one = await connected(house)
    await one.ask("subscribe", channel="feed:lab")
    await house.feeds.database.write(delete_feed, "lab")
    push = (await one.read())["push"]
    assert push["unsubscribe"]["code"] == 2000
    assert push["unsubscribe"]["reason"]


async def test_a_refreshed_token_counts_from_then_on(house: House, set_namespaces: SetNamespaces) -> None:
    set_namespaces(chat=replace(OPEN, presence=True))
    Door.of(house.feeds).tokens = Tokens((secret_key(SECRET),))
    one = await client(house)
    await one.ask("connect", token=signed("HS256", {"sub": "mia", "info": "before"}))
    assert "error" not in await one.ask("refresh", token=signed("HS256", {"sub": "mia", "info": "now"}))
    await one.ask("subscribe", channel="chat:1")
    (info,) = (await one.ask("presence", channel="chat:1"))["presence"]["presence"].values()
    assert (info["user"], info["conn_info"]) == ("mia", "now")
    await one.tell({"id": 9, "refresh": {"token": signed("HS256", {"sub": "eve"})}})
    assert (await one.closed())[1] == 3500


async def test_one_frame_of_many_commands_lets_others_run(house: House) -> None:
    one = await connected(house)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    await one.tell(*({"id": number, "ping": {}} for number in range(2, 1002)))
    for _ in range(1000):
        await one.read()
    counting.cancel()
    assert turns > 20


async def test_a_message_that_is_too_large_ends_it(house: House) -> None:
    one = await connected(house)
    await one.tell({"id": 2, "rpc": {"method": "x" * 70_000}})
    assert (await one.closed())[1] == 1009
