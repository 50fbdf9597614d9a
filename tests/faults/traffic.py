"""Clients that come back by themselves, publishers that repeat what got no answer, and a check of both."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.services import wait_until
from tests.serving import Server

from .cluster import Cluster

AGAIN_S = 0.2
PACE_S = 0.05
# Longer than a server takes to say that it cannot: what was given up for lost is never committed afterwards.
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Told:
    """A message with a value, and when it came."""

    kind: str
    offset: int
    data: str
    at: float


class Client:
    """Watches feeds on the first of `servers` that answers, and on the next one whenever it loses one.

    again_s    how long it waits before that, half as long at least
    told       what it got, by feed; `null` before the first publication is left out
    statuses   how many came from which port: the first one of a feed says that it is watched there
    refusals   error codes that it was sent
    """

    def __init__(
        self, servers: Sequence[Server], slugs: Sequence[str], *, door: str, again_s: float = AGAIN_S
    ) -> None:
        self._servers = servers
        self._again_s = again_s
        self.slugs = slugs
        self._open = self._stream if door == "sse" else self._socket
        self._positions: dict[str, str] = {}
        self.name = f"{door} on {', '.join(server.data_dir.name for server in servers)}"
        self.told: defaultdict[str, list[Told]] = defaultdict(list)
        self.statuses: Counter[int] = Counter()
        self.refusals: Counter[str] = Counter()

    async def run(self) -> None:
        """Until cancelled."""
        for turn in count():
            server = self._servers[turn % len(self._servers)]
            with contextlib.suppress(OSError, WebSocketException, httpx.HTTPError):
                async for text in self._open(server):
                    self._take(server, json.loads(text))
            await asyncio.sleep(random.uniform(self._again_s / 2, self._again_s))

    def _take(self, server: Server, message: dict[str, object]) -> None:
        kind, slug = str(message["type"]), str(message.get("feed"))
        if kind == "error":
            self.refusals[str(message["code"])] += 1
        elif kind == "status":
            self.statuses[server.port] += 1
        if "offset" in message:
            self._positions[slug] = f"{message['epoch']}:{message['offset']}"
            if message["offset"]:
                data = json.dumps(message["data"], separators=(",", ":"))
                self.told[slug].append(Told(kind, int(str(message["offset"])), data, time.time()))

    async def _socket(self, server: Server) -> AsyncIterator[str]:
        wants = (
            f"{slug}@{self._positions[slug]}" if slug in self._positions else slug for slug in self.slugs
        )
        query = "&".join(f"feed={want}" for want in wants)
        async with connect(f"{server.ws_url}/ws/feeds/?{query}", proxy=None, close_timeout=1) as socket:
            async for text in socket:
                yield str(text)

    async def _stream(self, server: Server) -> AsyncIterator[str]:
        (slug,) = self.slugs
        headers = {"Last-Event-ID": self._positions[slug]} if slug in self._positions else {}
        url = f"{server.url}/feeds/{slug}/events"
        async with (
            httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    yield line[6:]

    def has(self, slug: str, offset: int) -> bool:
        """Whether it was told of that publication or a later one."""
        told = self.told[slug]
        return bool(told) and told[-1].offset >= offset

    def check(self, slug: str, journal: Sequence[tuple[int, str]]) -> None:
        """From its first offset on, it was told all of the journal, once and in order."""
        told = [each for each in self.told[slug] if each.offset <= journal[-1][0]]
        assert told, f"{self.name}: was told nothing of {slug}"
        first, last = told[0].offset, told[-1].offset
        expected = [entry for entry in journal if first <= entry[0] <= last]
        assert [(each.offset, each.data) for each in told] == expected, f"{self.name}: {slug}"
        assert {each.kind for each in told[1:]} <= {"update"}, f"{self.name}: {slug} was reset"


class Publisher(threading.Thread):
    """Publishes 1, 2, 3… to one feed over any of `servers`, each until it is acknowledged.

    acknowledged   (offset, value, when)
    refusals       (HTTP status, or the connection's error; when)
    """

    def __init__(self, servers: Sequence[Server], slug: str) -> None:
        super().__init__(name=f"publisher of {slug}")
        self.slug = slug
        self._servers = servers
        self._headers = {"Authorization": f"Bearer {servers[0].token}"}
        self._ended = threading.Event()
        self.acknowledged: list[tuple[int, int, float]] = []
        self.refusals: list[tuple[int | str, float]] = []

    def run(self) -> None:
        value, turn = 1, 0
        with httpx.Client(trust_env=False, timeout=PATIENCE_S, headers=self._headers) as client:
            while not self._ended.wait(PACE_S):
                url = f"{self._servers[turn % len(self._servers)].url}/api/feeds/{self.slug}/publish"
                try:
                    answer = client.post(url, json={"data": value})
                except httpx.TransportError as error:
                    self.refusals.append((type(error).__name__, time.time()))
                    turn += 1
                    continue
                if answer.is_success:
                    self.acknowledged.append((answer.json()["offset"], value, time.time()))
                    value += 1
                else:
                    self.refusals.append((answer.status_code, time.time()))
                    turn += 1

    def more(self, number: int) -> None:
        """Wait until so many more publications are acknowledged."""
        goal = len(self.acknowledged) + number
        wait_until(lambda: len(self.acknowledged) >= goal, f"{number} more publications to {self.slug}", 60)

    def stop(self) -> None:
        self._ended.set()
        self.join(PATIENCE_S + 10)

    def check(self, journal: Sequence[tuple[int, str]]) -> None:
        """Every value was committed once, in order, and everything acknowledged as it was acknowledged."""
        assert [data for _, data in journal] == [str(value) for value in range(1, len(journal) + 1)], (
            self.slug
        )
        assert len(journal) - len(self.acknowledged) in (0, 1), "at most the last one got no answer"
        stored = dict(journal)
        assert all(stored[offset] == str(value) for offset, value, _ in self.acknowledged), self.slug


class Traffic:
    """One publisher and one feed for each web process; clients at every door of each, and of both."""

    def __init__(self, cluster: Cluster, name: str, *, also: Sequence[str] = ()) -> None:
        self._cluster = cluster
        self.slugs = [f"{name}-{number}" for number in range(len(cluster.webs))]
        self.watched = [*self.slugs, *also]
        webs = cluster.webs
        self.publishers = [Publisher([*webs[n:], *webs[:n]], slug) for n, slug in enumerate(self.slugs)]
        self.at_home = [Client([web], self.watched, door="socket") for web in webs]
        self.at_home += [
            Client([web], [slug], door="sse") for web, slug in zip(webs, self.slugs, strict=True)
        ]
        self.on_the_move = [
            Client([*webs[n:], *webs[:n]], self.watched, door="socket") for n in range(len(webs))
        ]
        self.clients = [*self.at_home, *self.on_the_move]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="clients")
        self._stopped = asyncio.Event()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._keep_watching())

    async def _keep_watching(self) -> None:
        tasks = [asyncio.create_task(client.run()) for client in self.clients]
        await self._stopped.wait()
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result

    @contextlib.contextmanager
    def flowing(self) -> Iterator[None]:
        """Let it flow while the block breaks things; then nobody may lack anything.

        Every process must have lived through it, but for those that the block itself has killed and started.
        """
        for slug in self.slugs:
            self._cluster.webs[0].call("POST", "/feeds", {"slug": slug, "public": True})
        self._thread.start()
        try:
            wait_until(lambda: all(client.statuses for client in self.clients), "everybody watches")
            for publisher in self.publishers:
                publisher.start()
            self.more(5)
            try:
                yield
                self.more(5)
            finally:
                for publisher in self.publishers:
                    publisher.stop()
            self._check()
            assert all(process.runs for process in self._cluster.processes)
        finally:
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(10)

    def more(self, number: int) -> None:
        """Wait until each publisher has had so many more acknowledged."""
        for publisher in self.publishers:
            publisher.more(number)

    def reaches(self, clients: Sequence[Client], what: str, timeout_s: float = 30) -> None:
        """Wait until these clients have everything that is acknowledged by now."""
        goals = {publisher.slug: publisher.acknowledged[-1][0] for publisher in self.publishers}
        self._until_told(clients, goals, what, timeout_s)

    def _until_told(
        self, clients: Sequence[Client], goals: dict[str, int], what: str, timeout_s: float
    ) -> None:
        def told() -> bool:
            return all(
                client.has(slug, goals[slug]) for client in clients for slug in client.slugs if slug in goals
            )

        wait_until(told, what, timeout_s)

    def _check(self) -> None:
        journals = {slug: self._cluster.journal(slug) for slug in self.watched}
        goals = {slug: journal[-1][0] for slug, journal in journals.items() if journal}
        self._until_told(self.clients, goals, "everybody has everything", 60)
        for publisher in self.publishers:
            publisher.check(journals[publisher.slug])
        journals = {slug: self._cluster.journal(slug) for slug in self.watched}
        for client in self.clients:
            for slug in list(client.told):
                client.check(slug, journals[slug])
