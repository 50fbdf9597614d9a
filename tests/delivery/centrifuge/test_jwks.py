"""Keys from a URL: read once, kept, read anew for a key that is not known, and never too often."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from realtime.delivery.centrifuge import jwks
from realtime.delivery.centrifuge.jwks import FLOOR_S, KEPT_S, Jwks
from realtime.delivery.centrifuge.tokens import Tokens
from realtime.errors import InvalidToken, Unavailable
from tests.upstream import Upstream
from tests.upstream_replies import says

from .signing import jwk, signed

URL = "https://keys.example/jwks.json?secret=1"


class Keys(httpx.BaseTransport):
    """A server of keys: what it answers next, and how often it was asked."""

    def __init__(self, *members: dict[str, Any]) -> None:
        self.asked = 0
        self.answer: Callable[[], httpx.Response] = lambda: httpx.Response(200, json={"keys": list(members)})

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        return self.answer()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def reading(keys: Keys, clock: Clock | None = None) -> AsyncIterator[Jwks]:
    source = Jwks(URL, transport=keys, now=clock or Clock())
    try:
        yield source
    finally:
        await source.aclose()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a thread tells nobody
            await asyncio.sleep(0.005)


async def test_a_token_is_checked_with_a_key_from_the_url() -> None:
    with Upstream() as upstream:
        content = {"keys": [jwk("rsa", kid="one"), jwk("p256", kid="two"), {"kty": "oct", "k": "AAAA"}]}
        source = Jwks(upstream.on("/jwks", says(content)))
        tokens = Tokens((), source)
        token = await tokens.connection(signed("ES256", {"sub": "42"}, kid="two"))
        assert token.user == "42"  # type: ignore[union-attr]
        assert await tokens.subscription(signed("RS256", {"channel": "a"}))
        with pytest.raises(InvalidToken):
            await tokens.connection(signed("ES256", {"sub": "42"}, kid="one"))
        await tokens.aclose()


async def test_many_who_ask_at_once_read_once() -> None:
    keys = Keys(jwk("rsa", kid="one"))
    async with reading(keys) as source:
        found = await asyncio.gather(*(source.keys("one") for _ in range(50)))
    assert keys.asked == 1
    assert all(key[0].kid == "one" for key in found)


async def test_an_unknown_key_is_looked_for_but_not_more_often_than_every_ten_seconds() -> None:
    keys, clock = Keys(jwk("rsa", kid="one")), Clock()
    async with reading(keys, clock) as source:
        for _ in range(20):
            await source.keys("two")
        assert keys.asked == 1
        clock.now += FLOOR_S
        keys.answer = lambda: httpx.Response(200, json={"keys": [jwk("p256", kid="two")]})
        assert [key.kid for key in await source.keys("two")] == ["two"]
        assert keys.asked == 2


async def test_old_keys_serve_while_they_are_read_anew() -> None:
    keys, clock = Keys(jwk("rsa", kid="one")), Clock()
    async with reading(keys, clock) as source:
        await source.keys("")
        clock.now += KEPT_S - 1
        await source.keys("one")
        assert keys.asked == 1
        go = threading.Event()

        def late() -> httpx.Response:
            assert go.wait(30)
            return httpx.Response(200, json={"keys": [jwk("p256", kid="one")]})

        keys.answer = late
        clock.now += 2
        [old] = await source.keys("one")
        assert "RS256" in old.algorithms
        go.set()
        await until(lambda: source._keys is not None and "ES256" in source._keys[0].algorithms)
        assert keys.asked == 2


def failing() -> httpx.Response:
    raise httpx.ConnectError("refused")


GOOD = json.dumps({"keys": [jwk("rsa", kid="one")]})
BAD: dict[str, Callable[[], httpx.Response]] = {
    "nobody answers": failing,
    "a status": lambda: httpx.Response(503),
    "a redirect": lambda: httpx.Response(302, headers={"Location": "https://elsewhere.example/"}),
    "no JSON": lambda: httpx.Response(200, text="<html>"),
    "no UTF-8": lambda: httpx.Response(200, content=b"\xff"),
    "no keys": lambda: httpx.Response(200, json={}),
    "a list": lambda: httpx.Response(200, json=[]),
    "gzip": lambda: httpx.Response(
        200, content=gzip.compress(GOOD.encode()), headers={"Content-Encoding": "gzip"}
    ),
    "too much": lambda: httpx.Response(200, text=GOOD + " " * jwks.LIMIT_BYTES),
}


@pytest.mark.parametrize("bad", BAD)
async def test_what_cannot_be_read_is_worth_another_try(bad: str, caplog: pytest.LogCaptureFixture) -> None:
    keys, clock = Keys(), Clock()
    keys.answer = BAD[bad]
    token = signed("RS256", {"sub": "42"}, kid="one")
    async with reading(keys, clock) as source:
        tokens = Tokens((), source)
        for _ in range(3):
            with pytest.raises(Unavailable):
                await tokens.connection(token)
        assert keys.asked == 1
        clock.now += FLOOR_S
        keys.answer = lambda: httpx.Response(200, json={"keys": [jwk("rsa", kid="one")]})
        assert await tokens.connection(token)
        # Once read, they go on when the URL fails.
        keys.answer = BAD[bad]
        clock.now += KEPT_S + 1
        assert await tokens.connection(token)
        await until(lambda: keys.asked == 3 and source._reading is None)
        assert await tokens.connection(token)
    assert "jwks_unreadable host=keys.example" in caplog.text
    assert "secret" not in caplog.text


async def test_one_who_leaves_does_not_end_the_reading_for_the_others() -> None:
    keys = Keys()
    go = threading.Event()

    def late() -> httpx.Response:
        assert go.wait(30)
        return httpx.Response(200, json={"keys": [jwk("rsa", kid="one")]})

    keys.answer = late
    async with reading(keys) as source:
        first, second = (asyncio.create_task(source.keys("one")) for _ in range(2))
        await until(lambda: keys.asked == 1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        go.set()
        assert len(await second) == 1


async def test_the_loop_goes_on_and_nobody_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jwks, "TIMEOUT_S", 0.05)
    keys = Keys()
    go = threading.Event()
    keys.answer = lambda: httpx.Response(200, json={"keys": []}) if go.wait(30) else failing()
    try:
        async with reading(keys) as source:
            with pytest.raises(Unavailable):
                await source.keys("one")
    finally:
        go.set()
    assert "time-out" in caplog.text


async def test_what_drips_in_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Drips(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            for _ in range(100):
                time.sleep(0.01)
                yield b" "

    monkeypatch.setattr(jwks, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(jwks, "LIMIT_BYTES", 10**12)
    keys = Keys()
    keys.answer = lambda: httpx.Response(200, stream=Drips())
    with pytest.raises(jwks.Unreadable, match="too slow"):
        await asyncio.to_thread(jwks._read, URL, keys)


def test_members_that_cannot_verify_leave_the_others() -> None:
    keys = Keys({"kty": "new"}, jwk("rsa", kid="one"), jwk("p256", use="enc"))
    assert [key.kid for key in jwks._read(URL, keys)] == ["one"]


async def test_nothing_is_asked_for_a_token_that_a_local_key_signed(caplog: pytest.LogCaptureFixture) -> None:
    from realtime.delivery.centrifuge.keys import secret_key

    from .signing import SECRET

    keys = Keys()
    async with reading(keys) as source:
        with caplog.at_level(logging.DEBUG):
            await Tokens((secret_key(SECRET),), source).connection(signed("HS256", {"sub": "42"}))
    assert keys.asked == 0
    assert json.dumps(SECRET) not in caplog.text
