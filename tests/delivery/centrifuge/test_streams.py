"""The protocol on streamed HTTP answers: framing, refusals, ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from realtime import conf as settings
from realtime.delivery.centrifuge import session as sessions
from realtime.delivery.centrifuge.door import Door
from realtime.delivery.centrifuge.schema import CLASSES
from tests.delivery.centrifuge.answers import Request, commands
from tests.delivery.conftest import House

CONNECT = {"id": 1, "connect": {}}
SUBSCRIBE = {"id": 2, "subscribe": {"channel": "feed:count"}}
HTTP_STREAM, SSE = "/connection/http_stream", "/connection/sse"
UNI_HTTP_STREAM, UNI_SSE = "/connection/uni_http_stream", "/connection/uni_sse"
ALL = (HTTP_STREAM, SSE, UNI_HTTP_STREAM, UNI_SSE)

Ask = Callable[..., Awaitable[Request]]


@pytest.fixture
async def ask(house: House) -> AsyncIterator[Ask]:
    """Sends requests; those that are still answered at the end of the test are hung up."""
    asked: list[Request] = []

    async def send(*args: Any, **options: Any) -> Request:
        request = Request(*args, **options)
        asked.append(request)
        return await request.open()

    yield send
    for request in asked:
        await request.hang_up()
    assert not Door.of(house.feeds).sessions


async def test_an_http_stream_carries_replies_and_pushes_by_lines(house: House, ask: Ask) -> None:
    await house.add_feed("count", 1)
    stream = await ask("POST", HTTP_STREAM, commands(CONNECT, SUBSCRIBE))
    assert stream.status == 200
    assert stream.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    assert stream.headers["x-accel-buffering"] == "no"
    assert "no-store" in stream.headers["cache-control"]
    connected = (await stream.line())["connect"]
    assert connected["pong"] is True
    assert connected["session"] not in ("", connected["client"])
    assert (await stream.line())["subscribe"]["offset"] == 1
    await house.publish("count", {"text": "two\nlines"})
    push = (await stream.line())["push"]
    assert (push["channel"], push["pub"]["data"]) == ("feed:count", {"text": "two\nlines"})


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"content_type": "application/octet-stream"}, {}),
        ({}, {"format": "protobuf"}),
        ({}, {"cf_protocol": "protobuf"}),
    ],
)
async def test_an_http_stream_carries_protobuf_behind_lengths(
    house: House, ask: Ask, headers: dict[str, str], query: dict[str, str]
) -> None:
    await house.add_feed("count", 1)
    sent = [
        CLASSES["Command"](id=1, connect={}),
        CLASSES["Command"](id=2, subscribe={"channel": "feed:count"}),
    ]
    body = b"".join(bytes([each.ByteSize()]) + each.SerializeToString() for each in sent)
    stream = await ask("POST", HTTP_STREAM, body, query=query, **headers)
    assert stream.headers["content-type"] == "application/octet-stream"
    connected, subscribed = await next_reply(stream), await next_reply(stream)
    assert connected.connect.session
    assert subscribed.subscribe.offset == 1
    await house.publish("count", [2])
    assert json.loads((await next_reply(stream)).push.pub.data) == [2]


async def next_reply(stream: Request) -> Any:
    """The next message behind its length, of one byte or two."""
    while len(stream.received) < 2:
        await stream.more()
    size, at = stream.received[0], 1
    if size > 127:
        size, at = (size & 127) | stream.received[1] << 7, 2
    while len(stream.received) < at + size:
        await stream.more()
    message = CLASSES["Reply"].FromString(stream.received[at : at + size])
    stream.received = stream.received[at + size :]
    return message


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_event_stream_carries_replies_and_pushes_as_data(
    house: House, ask: Ask, method: str
) -> None:
    await house.add_feed("count", 1)
    said = commands(CONNECT, SUBSCRIBE)
    if method == "GET":
        stream = await ask("GET", SSE, query={"cf_connect": said})
    else:
        stream = await ask("POST", SSE, said)
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert await stream.until(b"\r\n") == b""
    assert (await stream.event())["connect"]["node"] == Door.of(house.feeds).node
    assert (await stream.event())["subscribe"]["offset"] == 1
    await house.publish("count", 2)
    assert (await stream.event())["push"]["pub"]["data"] == 2


@pytest.mark.parametrize("request_body", ['{"name": "kiosk"}', ""])
async def test_a_listener_by_lines_is_told_of_its_connection_by_a_push(ask: Ask, request_body: str) -> None:
    stream = await ask("POST", UNI_HTTP_STREAM, request_body)
    connected = (await stream.line())["connect"]
    assert connected["client"]
    assert not {"pong", "session", "node"} & connected.keys()


async def test_a_listener_by_events_is_told_of_its_connection_by_a_push(ask: Ask) -> None:
    stream = await ask("GET", UNI_SSE, query={"cf_connect": '{"name": "kiosk"}'})
    assert await stream.until(b"\r\n") == b""
    assert (await stream.event())["connect"]["client"]
    stream = await ask("GET", UNI_SSE)
    assert await stream.until(b"\r\n") == b""
    assert (await stream.event())["connect"]["client"]


async def test_listeners_are_pinged_and_need_not_answer_while_others_must(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PING_S", 0.02)
    monkeypatch.setattr(sessions, "PONG_WITHIN_S", 0.01)
    stream = await ask("POST", UNI_HTTP_STREAM)
    await stream.line()
    for _ in range(5):
        assert await stream.line() == {}
    talker = await ask("POST", HTTP_STREAM, commands(CONNECT))
    await talker.line()
    assert await talker.line() == {}
    while (told := await talker.line()) == {}:
        pass
    assert told["push"]["disconnect"]["code"] == 3012


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (HTTP_STREAM, ""),
        (HTTP_STREAM, "]"),
        (HTTP_STREAM, '{"id": 1'),
        (HTTP_STREAM, '{"id": 1, "connect": {"token": 7}}'),
        (HTTP_STREAM, commands(SUBSCRIBE)),
        (UNI_HTTP_STREAM, "]"),
        (UNI_HTTP_STREAM, "[]"),
        (UNI_HTTP_STREAM, '{"token": 7}'),
        (UNI_HTTP_STREAM, '{"data": "\\ud800"}'),
    ],
)
async def test_what_is_no_request_ends_with_its_code(ask: Ask, path: str, said: str) -> None:
    stream = await ask("POST", path, said)
    told = await stream.line()
    disconnect = (told if path == UNI_HTTP_STREAM else told["push"])["disconnect"]
    assert disconnect["code"] == 3501
    assert disconnect["reason"]
    assert await stream.rest() == b""


async def test_a_listener_with_a_bad_token_is_told_not_to_come_back(ask: Ask) -> None:
    stream = await ask("POST", UNI_HTTP_STREAM, '{"token": "nonsense"}')
    told = (await stream.line())["disconnect"]
    assert told["code"] == 3500
    assert "reconnect" not in told


@pytest.mark.parametrize("path", ALL)
async def test_a_client_that_must_go_is_told_so_and_the_answer_ends(ask: Ask, path: str) -> None:
    stream = await ask("POST", path, "{}" if "uni" in path else commands(CONNECT))
    while b"client" not in stream.received:
        await stream.more()
    await stream.hang_up()
    rest = await stream.rest()
    assert b'"disconnect":{"code":3001,"reason":"shutdown","reconnect":true}' in rest
    assert rest.endswith(b"\n")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", HTTP_STREAM, "POST"),
        ("PUT", SSE, "GET, POST"),
        ("DELETE", UNI_SSE, "GET, POST"),
        ("GET", UNI_HTTP_STREAM, "POST"),
        ("GET", "/emulation", "POST"),
    ],
)
async def test_other_methods_are_refused(ask: Ask, method: str, path: str, allowed: str) -> None:
    answer = await ask(method, path)
    assert answer.headers["allow"] == allowed
    assert await answer.error() == (405, "method_not_allowed", None)


@pytest.mark.parametrize("path", [*ALL, "/emulation"])
async def test_foreign_pages_are_refused_unless_their_origin_is_allowed(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    refused = await ask("POST", path, "{}", origin="https://elsewhere.example")
    assert await refused.error() == (403, "not_allowed", "origin")
    assert "access-control-allow-origin" not in refused.headers
    refused = await ask("OPTIONS", path, origin="https://elsewhere.example")
    assert refused.status == 403
    monkeypatch.setenv("HEADWATER_ALLOWED_ORIGINS", "https://elsewhere.example")
    settings.conf.cache_clear()
    try:
        preflight = await ask(
            "OPTIONS", path, origin="https://elsewhere.example", access_control_request_headers="content-type"
        )
        assert preflight.status == 204
        assert preflight.headers["access-control-allow-origin"] == "https://elsewhere.example"
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert preflight.headers["access-control-allow-headers"] == "content-type"
        answer = await ask("POST", path, "{}", origin="https://elsewhere.example")
        assert answer.headers["access-control-allow-origin"] == "https://elsewhere.example"
    finally:
        monkeypatch.undo()
        settings.conf.cache_clear()


async def test_a_foreign_page_that_asks_may_read_why_it_is_refused(ask: Ask) -> None:
    refused = await ask("GET", "/emulation", origin="https://elsewhere.example")
    assert await refused.error() == (403, "not_allowed", "origin")
    assert refused.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in refused.headers


async def test_an_address_that_is_not_utf_8_is_refused(ask: Ask) -> None:
    answer = await ask("POST", HTTP_STREAM, commands(CONNECT), query={"format": b"\xff"})
    assert await answer.error() == (400, "bad_input", "query")


@pytest.mark.parametrize("path", [HTTP_STREAM, UNI_SSE])
async def test_a_body_over_the_limit_is_refused(ask: Ask, path: str) -> None:
    answer = await ask("POST", path, " " * 70_000)
    assert await answer.error() == (413, "too_large", "body")


async def test_whoever_leaves_before_its_body_has_come_gets_no_session(house: House) -> None:
    request = Request("POST", HTTP_STREAM, commands(CONNECT))
    await request.hang_up()
    assert not Door.of(house.feeds).sessions
