"""Methods that clients call: async and sync, bounded, and what becomes of their errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from realtime import rpc as registry
from realtime.delivery.centrifuge import rpc as calls_module
from realtime.delivery.centrifuge.protocol import Disconnect, ErrorCode, ProtocolError
from realtime.delivery.centrifuge.rpc import CALLS_PER_SESSION, Calls, take_message
from realtime.errors import NotFound
from realtime.feeds.access import ANONYMOUS, create_token
from realtime.feeds.models import ApiToken
from realtime.feeds.runtime import Feeds
from realtime.rpc import Caller, RpcError, rpc

pytestmark = pytest.mark.django_db(transaction=True)

ANA = Caller("ana", "c1", ANONYMOUS)


@pytest.fixture(autouse=True)
def own_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_methods", {})


@pytest.fixture
async def calls(feeds: Feeds) -> AsyncIterator[Calls]:
    return Calls(feeds)


class Client:
    """What a call needs of a session, and what it was answered."""

    def __init__(self) -> None:
        self.user, self.id = "ana", "c1"
        self.known = SimpleNamespace(principal=ANONYMOUS)
        self.answers: dict[int, Any] = {}
        self._news = asyncio.Event()

    def reply(self, number: int, method: str, result: Any) -> None:
        self.answers[number] = {method: result}
        self._news.set()

    def refuse(self, number: int, error: ProtocolError) -> None:
        self.answers[number] = error.code
        self._news.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.answers) < count:
                await self._news.wait()
                self._news.clear()


async def test_async_and_sync_methods_get_caller_and_data_and_give_json(calls: Calls) -> None:
    @rpc("echo")
    async def echo(caller: Caller, data: Any) -> Any:
        return {"user": caller.user, "client": caller.client, "data": data}

    @rpc("count-tokens")
    def count_tokens(caller: Caller, data: Any) -> Any:
        assert threading.current_thread() is not threading.main_thread()
        create_token(data, ["read"])
        return ApiToken.objects.count()

    assert await calls.call("echo", ANA, '[1,"ü"]') == '{"user":"ana","client":"c1","data":[1,"ü"]}'
    assert await calls.call("echo", ANA, "") == '{"user":"ana","client":"c1","data":null}'
    assert await calls.call("count-tokens", ANA, '"one"') == "1"


async def test_errors_reach_the_client_by_their_class_and_nothing_of_unforeseen_ones_does(
    calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    @rpc("known")
    async def known(caller: Caller, data: Any) -> Any:
        raise NotFound("No such order.")

    @rpc("own")
    def own(caller: Caller, data: Any) -> Any:
        raise RpcError(1234, "out of stock")

    @rpc("unforeseen")
    async def unforeseen(caller: Caller, data: Any) -> Any:
        raise ValueError(f"cannot use {data}")

    @rpc("not-json")
    async def not_json(caller: Caller, data: Any) -> Any:
        return {"at": object()}

    async def error(name: str, data: str = "null") -> tuple[int, str]:
        with pytest.raises(ProtocolError) as caught:
            await calls.call(name, ANA, data)
        return caught.value.code, caught.value.message

    assert await error("known") == (ErrorCode.UNKNOWN_CHANNEL, "No such order.")
    assert await error("own") == (1234, "out of stock")
    assert await error("unforeseen", '"a secret"') == (ErrorCode.INTERNAL, ErrorCode.INTERNAL.reason)
    assert await error("not-json") == (ErrorCode.INTERNAL, ErrorCode.INTERNAL.reason)
    assert (await error("nothing"))[0] == ErrorCode.NOT_AVAILABLE
    assert "rpc_failed method=unforeseen ValueError" in caplog.text
    assert "in unforeseen" in caplog.text
    assert "a secret" not in caplog.text


async def test_a_method_that_takes_too_long_is_given_up(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "LIMIT_S", 0.05)
    end, ended = threading.Event(), asyncio.Event()

    @rpc("slow")
    async def slow(caller: Caller, data: Any) -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    @rpc("slow-thread")
    def slow_thread(caller: Caller, data: Any) -> Any:
        end.wait(60)

    try:
        for name in ("slow", "slow-thread"):
            async with asyncio.timeout(30):
                with pytest.raises(ProtocolError) as caught:
                    await calls.call(name, ANA, "null")
            assert (caught.value.code, caught.value.temporary) == (ErrorCode.INTERNAL, True)
        assert ended.is_set()
    finally:
        end.set()


async def test_calls_of_one_client_run_side_by_side_up_to_a_limit_and_end_with_it(calls: Calls) -> None:
    go, running = asyncio.Event(), 0

    @rpc("wait")
    async def wait(caller: Caller, data: Any) -> Any:
        nonlocal running
        running += 1
        try:
            await go.wait()
        finally:
            running -= 1

    @rpc("quick")
    async def quick(caller: Caller, data: Any) -> Any:
        return data

    client: Any = Client()
    for number in range(1, CALLS_PER_SESSION):
        calls.start(client, number, {"method": "wait"})
    calls.start(client, 50, {"method": "quick", "data": "5"})
    await client.until(1)
    assert client.answers == {50: {"rpc": {"data": "5"}}}
    await asyncio.sleep(0)  # its task has ended
    calls.start(client, 51, {"method": "wait"})
    calls.start(client, 52, {"method": "wait"})
    assert client.answers[52] == ErrorCode.TOO_MANY_REQUESTS
    calls.end(client)
    async with asyncio.timeout(30):
        while running:  # noqa: ASYNC110 - the methods' own state
            await asyncio.sleep(0.01)
    assert set(client.answers) == {50, 52}


async def test_an_unknown_method_and_a_message_for_nobody_are_refused(calls: Calls) -> None:
    client: Any = Client()
    calls.start(client, 1, {})
    await client.until(1)
    assert client.answers == {1: ErrorCode.NOT_AVAILABLE}
    with pytest.raises(Disconnect) as caught:
        take_message(client, {"data": "1"})
    assert caught.value.code == 3508


def test_a_name_belongs_to_one_function() -> None:
    @rpc("name")
    def one(caller: Caller, data: Any) -> Any:
        return 1

    with pytest.raises(ValueError, match="taken by"):

        @rpc("name")
        def two(caller: Caller, data: Any) -> Any:
            return 2

    with pytest.raises(ValueError, match="give it a name"):
        rpc("")(one)
    with pytest.raises(ValueError, match="from 400 to 1999"):
        RpcError(100, "no")
