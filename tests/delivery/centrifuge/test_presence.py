"""Who is in a channel: on one process, on many, and while Redis is away."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

import pytest

from realtime.delivery.centrifuge import presence_redis
from realtime.delivery.centrifuge.presence import MemoryPresence, Presence, Stats, stats_of
from realtime.delivery.centrifuge.presence_redis import RedisPresence
from realtime.errors import Unavailable
from realtime.feeds.supervision import Supervisor
from tests.services import Redis

# Before they are forgotten they must have been seen. Redis' clock has whole seconds.
SOON_S = 5
ANA, BOB = '{"user":"ana","client":"a"}', '{"user":"bob","client":"b"}'


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gives up waiting for a Redis that answers, on a busy machine."""
    for limit in ("TIMEOUT_S", "ADD_TIMEOUT_S", "END_TIMEOUT_S"):
        monkeypatch.setattr(presence_redis, limit, 30)


@asynccontextmanager
async def process(url: str) -> AsyncIterator[RedisPresence]:
    """One process's presence, which ends in order unless it was killed meanwhile."""
    supervisor = Supervisor()
    presence = RedisPresence(url, supervisor)
    try:
        yield presence
    finally:
        await presence.aclose()
        await supervisor.aclose()


@pytest.fixture(params=["memory", "redis"])
async def presence(request: pytest.FixtureRequest) -> AsyncIterator[Presence]:
    if request.param == "memory":
        yield MemoryPresence()
        return
    async with process(request.getfixturevalue("redis_url")) as in_redis:
        yield in_redis


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.02)


async def test_a_client_is_seen_when_it_was_added_and_not_after_it_was_removed(presence: Presence) -> None:
    await presence.add(1, "a", ANA)
    await presence.add(1, "b", BOB)
    await presence.add(2, "a", ANA)
    assert await presence.clients(1) == {"a": ANA, "b": BOB}
    assert await presence.clients(2) == {"a": ANA}
    assert await presence.clients(3) == {}
    presence.remove(1, "a")
    presence.remove(1, "nobody")

    async def gone() -> bool:
        return await presence.clients(1) == {"b": BOB}

    await until(gone)
    assert await presence.clients(2) == {"a": ANA}


async def test_who_leaves_and_comes_again_at_once_is_seen_with_what_it_says_now(presence: Presence) -> None:
    await presence.add(1, "a", ANA)
    for _ in range(20):
        presence.remove(1, "a")
        await presence.add(1, "a", BOB)
        assert await presence.clients(1) == {"a": BOB}


def test_users_are_counted_once_and_all_who_have_no_name_are_one() -> None:
    infos = [ANA, ANA, BOB, '{"client":"c"}', '{"client":"d","user":""}']
    assert stats_of(infos) == Stats(num_clients=5, num_users=3)
    assert stats_of([]) == Stats(0, 0)


async def test_processes_see_each_others_clients_and_those_of_one_that_ends_are_gone(redis_url: str) -> None:
    async with process(redis_url) as one:
        async with process(redis_url) as two:
            many = [one if number % 2 else two for number in range(1200)]
            await asyncio.gather(*(each.add(7, str(n), ANA) for n, each in enumerate(many)))
            assert await one.clients(7) == await two.clients(7) == dict.fromkeys(map(str, range(1200)), ANA)
        assert set(await one.clients(7)) == {str(n) for n in range(1, 1200, 2)}


async def test_a_process_ends_when_redis_has_been_told_that_its_clients_are_gone(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_redis, "END_TIMEOUT_S", 30)
    begun, may_write, write = asyncio.Event(), asyncio.Event(), RedisPresence._write

    async def held_up(self: RedisPresence, keys: Collection[tuple[int, str]]) -> None:
        begun.set()
        await may_write.wait()
        await write(self, keys)

    async with process(redis_url) as one, process(redis_url) as two:
        await two.add(1, "a", ANA)
        monkeypatch.setattr(RedisPresence, "_write", held_up)
        ending = asyncio.create_task(two.aclose())
        await asyncio.wait_for(begun.wait(), 30)
        assert not (await asyncio.wait({ending}, timeout=0.1))[0]
        may_write.set()
        await ending
        assert await one.clients(1) == {}


async def test_clients_of_a_killed_process_are_forgotten_and_those_of_a_living_one_are_not(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_redis, "EXPIRY_S", SOON_S)
    monkeypatch.setattr(presence_redis, "REFRESH_EVERY_S", 0.2)
    killed = Supervisor()
    dead = RedisPresence(redis_url, killed)
    async with process(redis_url) as living:
        await living.add(1, "living", ANA)
        await dead.add(1, "dead", BOB)
        await dead.add(2, "dead", BOB)
        await killed.aclose()
        assert set(await living.clients(1)) == {"living", "dead"}

        async def only_the_living() -> bool:
            assert "living" in await living.clients(1)
            return await living.clients(1) == {"living": ANA} and await living.clients(2) == {}

        await until(only_the_living)

        async def nothing_is_left_of_it() -> bool:
            kept = await living._redis.hgetall(presence_redis._keys(1)[0])
            return kept == {"living": ANA} and not await living._redis.exists(*presence_redis._keys(2))

        await until(nothing_is_left_of_it)
    await dead._redis.aclose()


async def test_one_whose_time_is_over_is_not_seen_even_before_somebody_tidies_up(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_redis, "REFRESH_EVERY_S", 3600)
    killed = Supervisor()
    dead = RedisPresence(redis_url, killed)
    async with process(redis_url) as living:
        monkeypatch.setattr(presence_redis, "EXPIRY_S", SOON_S)
        await dead.add(1, "dead", BOB)
        await killed.aclose()
        monkeypatch.setattr(presence_redis, "EXPIRY_S", 60)
        await living.add(1, "living", ANA)
        assert set(await living.clients(1)) == {"living", "dead"}

        async def only_the_living() -> bool:
            return await living.clients(1) == {"living": ANA}

        await until(only_the_living)
        assert await living._redis.hexists(presence_redis._keys(1)[0], "dead")
    await dead._redis.aclose()


async def test_while_redis_is_away_nobody_waits_and_all_are_seen_when_it_is_back(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_redis, "REFRESH_EVERY_S", 3600)
    async with process(own_redis.url) as presence:
        await presence.add(1, "before", ANA)
        await presence.add(1, "left", ANA)
        own_redis.kill()
        async with asyncio.timeout(30):
            await presence.add(1, "meanwhile", BOB)
            presence.remove(1, "left")
            await presence.add(1, "passed", BOB)
            presence.remove(1, "passed")
        with pytest.raises(Unavailable):
            await presence.clients(1)
        own_redis.start()

        async def complete() -> bool:
            try:
                return await presence.clients(1) == {"before": ANA, "meanwhile": BOB}
            except Unavailable:
                return False

        await until(complete)


async def test_a_redis_that_answers_nothing_keeps_nobody_waiting_for_long(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_redis, "TIMEOUT_S", 0.5)
    assert own_redis.process is not None
    async with process(own_redis.url) as presence:
        await presence.add(1, "a", ANA)
        own_redis.process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(30):
            await presence.add(1, "b", ANA)
            with pytest.raises(Unavailable):
                await presence.clients(1)
        own_redis.process.send_signal(signal.SIGCONT)

        async def complete() -> bool:
            try:
                return set(await presence.clients(1)) == {"a", "b"}
            except Unavailable:
                return False

        await until(complete)


async def test_one_who_gave_up_while_being_added_is_not_seen(own_redis: Redis) -> None:
    assert own_redis.process is not None
    async with process(own_redis.url) as presence:
        await presence.add(1, "a", ANA)
        own_redis.process.send_signal(signal.SIGSTOP)
        adding = asyncio.create_task(presence.add(1, "b", ANA))
        await asyncio.sleep(0)
        adding.cancel()
        await asyncio.wait({adding})
        own_redis.process.send_signal(signal.SIGCONT)
        await presence.add(1, "c", ANA)
        assert set(await presence.clients(1)) == {"a", "c"}
