"""Server-Sent Events: the same objects with ids, resuming, refusals in the one error shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import pytest
from asgiref.testing import ApplicationCommunicator

from realtime.conf import conf
from realtime.delivery.patrol import Patrol
from realtime.delivery.turnstile import Turnstile
from realtime.errors import Unavailable
from realtime.feeds.access import create_token
from realtime.feeds.catalog import delete_feed
from realtime.feeds.database import Database
from realtime.feeds.models import ApiToken
from tests.delivery.conftest import HOST, House

Headers = tuple[tuple[bytes, bytes], ...]


class Stream:
    """An SSE client of the application without a server."""

    def __init__(self, path: str, *headers: tuple[bytes, bytes], method: str = "GET") -> None:
        from project.asgi import application

        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "query_string": query.encode(),
            "headers": [HOST, *headers],
        }
        self._inner = ApplicationCommunicator(application, scope)
        self._text = ""
        self.status = 0
        self.headers: dict[str, str] = {}

    async def open(self) -> int:
        await self._inner.send_input({"type": "http.request", "body": b"", "more_body": False})
        start = await self._inner.receive_output(timeout=20)
        self.status = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return self.status

    async def body(self) -> bytes:
        return bytes((await self._inner.receive_output(timeout=20))["body"])

    async def block(self) -> dict[str, str]:
        """The next block's fields; a comment is the field ''."""
        while "\n\n" not in self._text:
            self._text += (await self.body()).decode()
        block, _, self._text = self._text.partition("\n\n")
        fields = (line.partition(":") for line in block.split("\n"))
        return {name: value.removeprefix(" ") for name, _, value in fields}

    async def event(self) -> tuple[str | None, dict[str, Any]]:
        """The next event's id and object."""
        block = await self.block()
        while "data" not in block:
            block = await self.block()
        return block.get("id"), json.loads(block["data"])

    async def leave(self) -> None:
        await self._inner.send_input({"type": "http.disconnect"})
        await self._inner.wait(timeout=20)


@pytest.fixture
async def streams(house: House) -> AsyncIterator[list[Stream]]:
    opened: list[Stream] = []
    yield opened
    for stream in opened:
        await stream.leave()


async def test_a_stream_begins_with_retry_then_the_value_the_status_and_every_change(
    house: House, streams: list[Stream]
) -> None:
    await house.add_feed("temperature", 20)
    stream = Stream("/feeds/temperature/events", (b"accept", b"text/event-stream"))
    streams.append(stream)
    assert await stream.open() == 200
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"].startswith("no-cache")
    assert stream.headers["x-accel-buffering"] == "no"
    assert "access-control-allow-origin" not in stream.headers
    assert await stream.block() == {"retry": "2000"}
    identity, first = await stream.event()
    assert identity == f"{first['epoch']}:1"
    assert (first["type"], first["data"]) == ("snapshot", 20)
    identity, status = await stream.event()
    assert (identity, status["type"]) == (None, "status")
    position = await house.publish("temperature", 21)
    identity, update = await stream.event()
    assert (identity, update["type"], update["data"]) == (position, "update", 21)


@pytest.mark.parametrize("how", ["header", "query", "header wins"])
async def test_a_stream_resumes(house: House, streams: list[Stream], how: str) -> None:
    await house.add_feed("count")
    first, second = [await house.publish("count", value) for value in (1, 2)]
    for value in (3, 4):
        await house.publish("count", value)
    if how == "header":
        stream = Stream("/feeds/count/events", (b"last-event-id", second.encode()))
    elif how == "query":
        stream = Stream(f"/feeds/count/events?since={second}")
    else:
        stream = Stream(f"/feeds/count/events?since={first}", (b"last-event-id", second.encode()))
    streams.append(stream)
    assert await stream.open() == 200
    events = [(await stream.event())[1] for _ in range(3)]
    assert [(event["type"], event.get("data")) for event in events] == [
        ("update", 3),
        ("update", 4),
        ("status", None),
    ]


async def test_a_foreign_position_is_reset(house: House, streams: list[Stream]) -> None:
    await house.add_feed("count", 1)
    stream = Stream("/feeds/count/events", (b"last-event-id", b"gone:5"))
    streams.append(stream)
    await stream.open()
    _, event = await stream.event()
    assert (event["type"], event["data"]) == ("reset", 1)


@pytest.mark.parametrize(
    ("path", "headers", "method", "status", "code", "field"),
    [
        ("/feeds/nowhere/events", (), "GET", 404, "not_found", "feed"),
        ("/feeds/secret/events", (), "GET", 404, "not_found", "feed"),
        ("/feeds/open/events", (), "POST", 405, "method_not_allowed", None),
        ("/feeds/open/events", (), "HEAD", 405, "method_not_allowed", None),
        ("/feeds/open/events", ((b"accept", b"application/json"),), "GET", 406, "not_acceptable", "accept"),
        (
            "/feeds/open/events",
            ((b"accept", b"text/event-stream;q=0, application/json"),),
            "GET",
            406,
            "not_acceptable",
            "accept",
        ),
        ("/feeds/open/events?since=7", (), "GET", 400, "bad_position", "since"),
        ("/feeds/open/events?delta=row", (), "GET", 400, "bad_input", "delta"),
        ("/feeds/open/events?delta=", ((b"last-event-id", b"e:1"),), "GET", 400, "bad_input", "delta"),
        ("/feeds/open/events", ((b"last-event-id", b"x"),), "GET", 400, "bad_position", "Last-Event-ID"),
        ("/feeds/open/events?token=hw_wrong", (), "GET", 401, "not_signed_in", "token"),
        ("/feeds/open/events", ((b"authorization", b"Bearer no"),), "GET", 401, "not_signed_in", "token"),
        (
            "/feeds/open/events",
            ((b"origin", b"https://elsewhere.example"),),
            "GET",
            403,
            "not_allowed",
            "origin",
        ),
    ],
)
async def test_a_request_is_refused_with_a_status_in_the_one_error_shape(
    house: House, path: str, headers: Headers, method: str, status: int, code: str, field: str | None
) -> None:
    await house.add_feed("open", 1)
    await house.add_feed("secret", 1, public=False)
    stream = Stream(path, *headers, method=method)
    assert await stream.open() == status
    assert stream.headers["content-type"] == "application/json"
    content = json.loads(await stream.body())
    assert set(content) == {"error"}
    assert content["error"]["code"] == code
    assert content["error"].get("field") == field
    assert "access-control-allow-origin" not in stream.headers
    if status == 405:
        assert stream.headers["allow"] == "GET"


@pytest.mark.parametrize("accept", [b"*/*", b"text/*;q=0.5", b"application/json, text/event-stream"])
async def test_every_way_to_accept_a_stream_is_understood(
    house: House, streams: list[Stream], accept: bytes
) -> None:
    await house.add_feed("open", 1)
    stream = Stream("/feeds/open/events", (b"accept", accept))
    streams.append(stream)
    assert await stream.open() == 200


async def test_an_allowed_origin_may_read_streams_and_refusals(
    house: House, streams: list[Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = "https://elsewhere.example"
    allowing = conf().model_copy(update={"allowed_origins": (origin,)})
    monkeypatch.setattr("realtime.delivery.admission.conf", lambda: allowing)
    await house.add_feed("open", 1)
    for path, status in (("/feeds/open/events", 200), ("/feeds/nowhere/events", 404)):
        stream = Stream(path, (b"origin", origin.encode()))
        assert await stream.open() == status
        assert stream.headers["access-control-allow-origin"] == origin
        assert stream.headers["access-control-allow-credentials"] == "true"
        assert "Origin" in stream.headers["vary"]
        if status == 200:
            streams.append(stream)


async def test_a_deleted_feed_ends_its_stream_with_an_error(house: House) -> None:
    await house.add_feed("count", 1)
    stream = Stream("/feeds/count/events")
    await stream.open()
    await stream.event()
    await stream.event()
    await house.feeds.database.write(delete_feed, "count")
    identity, event = await stream.event()
    assert (identity, event["type"], event["code"]) == (None, "error", "gone")


async def test_a_revoked_token_ends_its_stream(house: House) -> None:
    await house.add_feed("secret", 1, public=False)
    row, token = await house.feeds.database.write(create_token, "t", ["read"])
    stream = Stream("/feeds/secret/events", (b"authorization", f"Bearer {token}".encode()))
    assert await stream.open() == 200
    await stream.event()
    await stream.event()
    await house.feeds.database.write(lambda: ApiToken.objects.filter(pk=row.pk).update(revoked=True))
    await Patrol.of(house.feeds).go_round()
    _, event = await stream.event()
    assert (event["type"], event["code"]) == ("error", "not_signed_in")


async def test_a_stream_that_leaves_leaves_nothing_behind(house: House) -> None:
    await house.add_feed("count", 1)
    before = asyncio.all_tasks()
    stream = Stream("/feeds/count/events")
    await stream.open()
    await stream.event()
    await stream.leave()
    assert house.delivery._hub.watched() == []
    extra = {task.get_name() for task in asyncio.all_tasks() - before if not task.done()}
    assert all(name.startswith("headwater") for name in extra), extra


async def test_without_a_database_a_stream_says_so_and_ends_so_that_a_browser_comes_back(
    house: House, streams: list[Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: Database, unit: object, *args: object) -> None:
        raise Unavailable("The database does not answer.")

    await house.add_feed("temperature", 20)
    monkeypatch.setattr(Database, "read", refuse)
    stream = Stream("/feeds/temperature/events")
    streams.append(stream)
    assert await stream.open() == 200
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert await stream.block() == {"retry": "2000"}
    _, error = await stream.event()
    assert (error["type"], error["code"]) == ("error", "unavailable")


async def test_a_stream_waits_for_its_turn_and_leaves_the_line_when_its_client_goes(
    house: House, streams: list[Stream]
) -> None:
    await house.add_feed("count", 1)
    house.delivery._joins = Turnstile(1, patience_s=30)
    async with house.delivery._joins:
        leaving, staying = Stream("/feeds/count/events"), Stream("/feeds/count/events")
        streams.append(staying)
        for stream in (leaving, staying):
            assert await stream.open() == 200
            assert await stream.block() == {"retry": "2000"}
        assert await staying._inner.receive_nothing()
        await leaving.leave()
    _, event = await staying.event()
    assert (event["type"], event["data"]) == ("snapshot", 1)


async def test_a_stream_whose_turn_does_not_come_ends_so_that_a_browser_comes_back(house: House) -> None:
    await house.add_feed("count", 1)
    house.delivery._joins = Turnstile(1, patience_s=0.05)
    async with house.delivery._joins:
        stream = Stream("/feeds/count/events")
        assert await stream.open() == 200
        _, event = await stream.event()
        assert (event["type"], event["code"]) == ("error", "unavailable")
        while await stream.body():
            pass
    assert house.delivery.watched() == []
