"""What clients of one-way streams say: found by its secret, in order, bounded, on whichever process."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import BaseChannelLayer, InMemoryChannelLayer

from realtime.delivery.centrifuge import emulation as room
from realtime.delivery.centrifuge.emulation import Emulation, Inbox, Taken
from realtime.delivery.centrifuge.emulation import Request as Said
from realtime.delivery.centrifuge.schema import CLASSES
from realtime.errors import Unavailable
from tests.delivery.centrifuge.answers import Request, commands
from tests.delivery.conftest import House
from tests.feeds.test_broker import process, redis_layer, until

CONNECT = {"id": 1, "connect": {}}


@pytest.fixture
async def emulation(house: House) -> Emulation:
    return Emulation.of(house.feeds)


@pytest.fixture
async def inbox(emulation: Emulation) -> AsyncIterator[Inbox]:
    opened = await emulation.open()
    yield opened
    emulation.close(opened)


async def post(said: Any, **headers: str) -> Request:
    body = said if isinstance(said, bytes) else json.dumps(said)
    return await Request("POST", "/emulation", body, **headers).open()


def envelope(inbox: Inbox, node: str, data: Any = "{}") -> dict[str, Any]:
    return {"session": inbox.secret, "node": node, "data": data}


async def test_a_client_speaks_beside_its_stream_and_is_answered_on_it(house: House) -> None:
    await house.add_feed("count", 1)
    stream = await Request("POST", "/connection/http_stream", commands(CONNECT)).open()
    connected = (await stream.line())["connect"]
    to = {"session": connected["session"], "node": connected["node"]}
    said = commands({"id": 2, "subscribe": {"channel": "feed:count"}}, {"id": 3, "ping": {}})
    answer = await post({**to, "data": said})
    assert (answer.status, await answer.rest()) == (204, b"")
    assert (await stream.line())["subscribe"]["offset"] == 1
    assert (await stream.line())["error"]["code"] == 108
    assert (await post({**to, "data": '{"id": 4, "connect": {}}'})).status == 204
    assert (await stream.line())["push"]["disconnect"]["code"] == 3501
    await stream.rest()
    await stream.hang_up()
    assert (await post({**to, "data": "{}"})).status == 404


async def test_a_client_speaks_protobuf_beside_its_stream(emulation: Emulation, inbox: Inbox) -> None:
    said = CLASSES["EmulationRequest"](node=emulation.node, session=inbox.secret, data=b"\x02\x08\xff")
    answer = await post(said.SerializeToString(), content_type="application/octet-stream")
    assert (answer.status, await inbox.get()) == (204, b"\x02\x08\xff")


async def test_nobody_is_reached_by_the_id_that_others_see(house: House) -> None:
    stream = await Request("POST", "/connection/http_stream", commands(CONNECT)).open()
    connected = (await stream.line())["connect"]
    answer = await post({"session": connected["client"], "node": connected["node"], "data": "{}"})
    assert await answer.error() == (404, "not_found", "session")
    await stream.hang_up()


async def test_frames_keep_their_order_and_only_so_many_wait(emulation: Emulation, inbox: Inbox) -> None:
    for number in range(room.WAITING_LIMIT):
        assert (await post(envelope(inbox, emulation.node, str(number)))).status == 204
    answer = await post(envelope(inbox, emulation.node, "one too many"))
    assert await answer.error() == (429, "too_many_requests", None)
    assert [await inbox.get() for _ in range(room.WAITING_LIMIT)] == [
        str(number) for number in range(room.WAITING_LIMIT)
    ]
    assert (await post(envelope(inbox, emulation.node, "again"))).status == 204


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"]", "body"),
        (b"[]", "body"),
        (b'{"session": 7, "node": "n", "data": ""}', "session"),
        (b'{"session": "s", "data": ""}', "node"),
        (b'{"session": "s", "node": "n", "data": {}}', "data"),
        (b'{"session": "s", "node": "n", "data": "\\ud800"}', "data"),
        (b"\xff", "body"),
    ],
)
async def test_what_is_no_request_is_refused(house: House, body: bytes, field: str) -> None:
    assert await (await post(body)).error() == (400, "bad_input", field)


async def test_a_binary_request_that_is_none_is_refused(house: House) -> None:
    answer = await post(b"\xff\xff", content_type="application/octet-stream")
    assert await answer.error() == (400, "bad_input", "body")


async def test_more_than_a_message_may_have_is_refused(emulation: Emulation, inbox: Inbox) -> None:
    answer = await post(envelope(inbox, emulation.node, "x" * 66_000))
    assert await answer.error() == (413, "too_large", "data")
    answer = await post(envelope(inbox, emulation.node, "x" * 140_000))
    assert await answer.error() == (413, "too_large", "body")
    # Escaped, a command of the largest size is almost twice as long.
    assert (await post(envelope(inbox, emulation.node, '"' * 65_000))).status == 204


@contextlib.asynccontextmanager
async def nodes(layer: BaseChannelLayer) -> AsyncIterator[tuple[Emulation, Emulation]]:
    """Two processes that call themselves one and two."""
    async with process(layer) as (one, _), process(layer) as (two, _):
        yield Emulation(one, "one", alone=False), Emulation(two, "two", alone=False)


@pytest.fixture(params=["memory", "redis"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Emulation, Emulation]]:
    if request.param == "memory":
        layer: BaseChannelLayer = InMemoryChannelLayer(capacity=1000)
    else:
        layer = redis_layer(request.getfixturevalue("redis_url"))
    async with nodes(layer) as found:
        yield found


async def test_a_frame_finds_its_session_on_another_process(pair: tuple[Emulation, Emulation]) -> None:
    one, two = pair
    inbox = await two.open()
    for frame in ("first", b"\x00\xff", "\U0001f41d\n"):
        assert await one.hand_over(Said("two", inbox.secret, frame)) is Taken.YES
        assert await inbox.get() == frame
    for number in range(room.WAITING_LIMIT):
        assert inbox.put(str(number)) is Taken.YES
    assert await one.hand_over(Said("two", inbox.secret, "")) is Taken.FULL
    two.close(inbox)
    assert await one.hand_over(Said("two", inbox.secret, "")) is Taken.UNKNOWN


async def test_a_process_that_has_ended_is_waited_for_and_then_unknown(
    pair: tuple[Emulation, Emulation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ANSWER_WITHIN_S", 0.05)
    one, two = pair
    inbox = await two.open()
    two._broker.leave_group("node.two")
    await until(lambda: "node.two" not in two._broker._joined)
    assert await one.hand_over(Said("two", inbox.secret, "lost")) is Taken.UNKNOWN
    assert not one._answers


async def test_nobody_is_asked_for_what_is_made_up(
    pair: tuple[Emulation, Emulation], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    asked: list[str] = []
    monkeypatch.setattr(one._broker, "signal", lambda group, signal: asked.append(group))
    inbox = await two.open()
    for made_up in (Said("three", inbox.secret, ""), Said("two", "x" * 64, ""), Said("two", "", "")):
        assert await one.hand_over(made_up) is Taken.UNKNOWN
    assert not asked


async def test_only_so_many_wait_for_other_processes(
    pair: tuple[Emulation, Emulation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PASSED_ON_LIMIT", 1)
    one, two = pair
    inbox = await two.open()
    said = [one.hand_over(Said("two", inbox.secret, frame)) for frame in ("first", "second")]
    first, second = await asyncio.gather(*said, return_exceptions=True)
    assert first is Taken.YES
    assert isinstance(second, Unavailable)
    assert await one.hand_over(Said("two", inbox.secret, "third")) is Taken.YES
