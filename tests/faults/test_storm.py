"""A storm: hundreds of clients lose their server at once and come back together while publishing goes on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.conftest import MakeServer
from tests.delivery.served import furnish
from tests.faults.traffic import Client
from tests.services import dying_with_us, wait_until
from tests.serving import ROOT, Server

SLUGS = [f"storm-{number}" for number in range(5)]
SOCKETS, STREAMS = 300, 5
# Everybody tries again within this time of having failed.
AGAIN_S = 1.0
PATIENCE_S = 120
# One feed after the other, each with 1, 2, 3…, until the input ends.
PUBLISHING = """
import sys, threading
from itertools import count
from realtime.feeds.runtime import publish
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
for number in count(1):
    for slug in {slugs}:
        publish(slug, number)
        if ended.wait(0.03):
            sys.exit()
"""


@contextmanager
def publishing(server: Server) -> Iterator[None]:
    """Another process publishes to all feeds, past the server."""
    with subprocess.Popen(
        [*dying_with_us(), sys.executable, "manage.py", "shell", "-v0", "-c", PUBLISHING.format(slugs=SLUGS)],
        cwd=ROOT,
        env=server.env,
        stdin=subprocess.PIPE,
    ) as process:
        try:
            yield
            assert process.poll() is None
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(PATIENCE_S)


async def everybody(clients: Sequence[Client], what: str, *, began: int, has: dict[str, int]) -> None:
    """Wait until all were started so many times on each feed, and have these offsets."""

    def reached() -> bool:
        return all(
            client.statuses.total() >= began * len(client.slugs)
            and all(client.has(slug, has[slug]) for slug in client.slugs if slug in has)
            for client in clients
        )

    await asyncio.to_thread(wait_until, reached, what, PATIENCE_S)


def journal_of(server: Server, slug: str) -> list[tuple[int, str]]:
    publications = server.call("GET", f"/feeds/{slug}/history?limit=1000")["publications"]
    return sorted((each["offset"], str(each["data"])) for each in publications)


@pytest.mark.database
@pytest.mark.timeout(400)
async def test_all_who_lost_their_server_at_once_come_back_with_everything_once_and_in_order(
    serve: MakeServer, redis_url: str
) -> None:
    # Positions are compared hardly ever: what a client gets, it is told at its start or by an announcement.
    # With more places at once hardly anybody would stand in line: what many ask for is read once.
    settings = {"HEADWATER_JOINS_AT_ONCE": "20", "HEADWATER_POSITION_CHECK_S": "600"}
    server = await asyncio.to_thread(serve, "--no-engine", REDIS_URL=redis_url, **settings)
    await asyncio.to_thread(furnish, server, *SLUGS)
    clients = [
        Client([server], [SLUGS[(number + step) % 5] for step in (0, 1, 2)], door="socket", again_s=AGAIN_S)
        for number in range(SOCKETS)
    ]
    clients += [Client([server], [slug], door="sse", again_s=AGAIN_S) for slug in SLUGS[:STREAMS]]
    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(client.run()) for client in clients]
        with publishing(server):
            await everybody(clients, "everybody watches", began=1, has=dict.fromkeys(SLUGS, 3))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await everybody(clients, "everybody is back", began=2, has={})
        journals = {slug: await asyncio.to_thread(journal_of, server, slug) for slug in SLUGS}
        last = {slug: journal[-1][0] for slug, journal in journals.items()}
        await everybody(clients, "everybody has everything", began=2, has=last)
        for task in watching:
            task.cancel()
    for client in clients:
        assert not client.refusals
        for slug in client.slugs:
            client.check(slug, journals[slug])
