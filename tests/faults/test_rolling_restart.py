"""Web processes behind nginx are restarted one after the other, with clients and a publisher at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from deploy.watching import Publisher, Watcher
from tests.conftest import MakeServer
from tests.delivery.served import furnish
from tests.services import Nginx
from tests.serving import Server

TIMEOUT_S = 60


async def until(reached: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not reached():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {TIMEOUT_S} s") from None


async def roll(web: list[Server], watchers: list[Watcher], publisher: Publisher) -> list[int]:
    """Restart each process, with publications before, between and after; their exit codes."""

    async def some_more() -> None:
        goal = publisher.published + 20
        await until(lambda: publisher.published >= goal, "more publications")
        await until(lambda: all(len(watcher.got) >= goal for watcher in watchers), "all have them")

    codes = []
    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(watcher.run()) for watcher in watchers]
        await until(lambda: all(watcher.ready for watcher in watchers), "every client watches")
        publishing = group.create_task(publisher.run())
        await some_more()
        for server in web:
            codes.append(await asyncio.to_thread(server.terminate))
            await some_more()
            await asyncio.to_thread(server.start)
            await some_more()
        publisher.stopping = True
        await publishing
        await until(lambda: all(len(w.got) >= publisher.published for w in watchers), "all have all")
        for task in watching:
            task.cancel()
    return codes


@pytest.mark.database
async def test_a_rolling_restart_behind_nginx_loses_nothing_and_everybody_is_back_at_once(
    serve: MakeServer, redis_url: str
) -> None:
    first = await asyncio.to_thread(serve, "--no-engine", REDIS_URL=redis_url)
    token = await asyncio.to_thread(furnish, first, "counter")
    web = [first, await asyncio.to_thread(serve, "--no-engine", like=first)]
    nginx = Nginx(*(server.port for server in web))
    try:
        nginx.start()
        sockets = [Watcher("WebSocket", nginx.url) for _ in range(20)]
        streams = [Watcher("stream", nginx.url) for _ in range(5)]
        publisher = Publisher(nginx.url, token)
        codes = await roll(web, sockets + streams, publisher)
    finally:
        nginx.close()
    assert codes == [0, 0]
    expected = [(number, number) for number in range(1, publisher.published + 1)]
    for watcher in sockets + streams:
        assert watcher.got == expected
        assert watcher.resets == 0
        # A promise of 5 s; the test's own machine may be busy, and its clients wait 0.2 s between two tries.
        assert watcher.longest_absence_s < 15
    for watcher in sockets:
        *closed, by_us = watcher.close_codes
        assert (set(closed), by_us) == ({1012}, None)
