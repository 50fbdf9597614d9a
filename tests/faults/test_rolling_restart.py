"""Web processes behind nginx are restarted one after the other, with clients and a publisher at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from deploy.watching import Publisher, Watcher
from tests.conftest import MakeServer
from tests.delivery.served import furnish
from tests.faults.byhand import deaf_socket
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
    """Restart each process, with publications before, meanwhile and after; their exit codes."""

    async def some_more() -> None:
        goal = publisher.published + 10
        await until(lambda: publisher.published >= goal, "more publications")
        await until(lambda: all(len(watcher.got) >= goal for watcher in watchers), "all have them")

    async def restart(server: Server) -> int:
        with deaf_socket(server, "counter") as deaf:
            ending = asyncio.create_task(asyncio.to_thread(server.terminate))
            await some_more()
            deaf.close()
            code = await ending
        await some_more()
        await asyncio.to_thread(server.start)
        await some_more()
        return code

    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(watcher.run()) for watcher in watchers]
        await until(lambda: all(watcher.ready for watcher in watchers), "every client watches")
        publishing = group.create_task(publisher.run())
        await some_more()
        codes = [await restart(server) for server in web]
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
        for server in web:
            server.terminate()
        without_any(nginx)
    finally:
        nginx.close()
    assert codes == [0, 0]
    expected = [(number, number) for number in range(1, publisher.published + 1)]
    for watcher in sockets + streams:
        assert watcher.got == expected
        assert watcher.resets == 0
        # The other process took it at the first try, also while the one that refused it was still there.
        assert watcher.tries == watcher.connections
        # Promised are 5 s, and measured were 0.3; the machine of a test may be busy.
        assert watcher.longest_absence_s < 15
    for watcher in sockets:
        *closed, by_us = watcher.close_codes
        assert (set(closed), by_us) == ({1012}, None)


def without_any(nginx: Nginx) -> None:
    """What nginx says when no process is there: a stream is hung up on, all else told so."""
    with httpx.Client(base_url=nginx.url, trust_env=False, timeout=30) as client:
        answer = client.get("/api/feeds/counter")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/feeds/counter/events")
