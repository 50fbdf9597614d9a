"""Everything dies once, under traffic: afterwards every client has every publication once and in order."""

from __future__ import annotations

import random
import signal
import threading
import time
from asyncio import StreamWriter
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise

import httpx
import pytest

from tests.delivery.served import read, read_values, watch
from tests.services import wait_until
from tests.serving import Server
from tests.upstream_replies import Heard, Reply, after, answers

from .cluster import SOURCES, Cluster
from .traffic import Traffic

pytestmark = pytest.mark.timeout(400)

REDIS_DEAD_S = 10.0
FOUND_WITHIN_S = 5.0
# A busy machine may be late; a mechanism that is not there is late every time.
TRIES = 3
INTERVALS = 5
# Feeds that engines fill, watched while everything else dies.
POLLED = [f"s{number:02}-0" for number in range(6)]
# Timers may fire this much before their time.
EARLY_S = 0.01


def test_redis_dead_for_ten_seconds_delays_publications_and_loses_none(cluster: Cluster) -> None:
    traffic = Traffic(cluster, "redis", also=POLLED)
    with cluster.polling(len(POLLED), interval_s=1, timeout_s=5) as polled, traffic.flowing():
        cluster.redis.kill()
        died = time.monotonic()
        traffic.more(10)
        cluster.wait_for_polls(polled, 1)
        traffic.reaches(traffic.clients, "what was published without Redis, without Redis")
        time.sleep(max(0.0, died + REDIS_DEAD_S - time.monotonic()))
        refused = [refusal for publisher in traffic.publishers for refusal in publisher.refusals]
        cluster.redis.start()
        # An engine notices when it has something to say, which another engine may have taken from it.
        wait_until(lambda: all(map(is_back_on_redis, cluster.webs)), "every web process is back on Redis")
        assert not refused, "publishing needs no Redis"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["stopped", "killed"])
def test_postgresql_restarted_while_publishing_loses_nothing_acknowledged(
    cluster: Cluster, how: signal.Signals
) -> None:
    traffic = Traffic(cluster, f"postgres-{how.name.lower()}", also=POLLED)
    with cluster.polling(len(POLLED), interval_s=1, timeout_s=5) as polled, traffic.flowing():
        cluster.postgres.kill(how)
        if how == signal.SIGINT:
            wait_until(lambda: all(publisher.refusals for publisher in traffic.publishers), "a refusal")
        cluster.postgres.start()
        traffic.more(10)
        cluster.wait_for_polls(polled, 2)
        refusals = {refusal for publisher in traffic.publishers for refusal, _ in publisher.refusals}
        assert refusals <= {503}
        for web in cluster.webs:
            # More pages than a process has idle connections: not one of them is left over from before.
            pages = [httpx.get(f"{web.url}/", trust_env=False, timeout=30) for _ in range(10)]
            assert {page.status_code for page in pages} == {200}


def test_connections_that_postgresql_has_closed_meanwhile_cost_one_refusal(cluster: Cluster) -> None:
    url = f"{cluster.webs[0].url}/api/feeds"

    def status(_: int) -> int:
        return httpx.get(url, trust_env=False, timeout=30).status_code

    with ThreadPoolExecutor(16) as many:
        assert set(many.map(status, range(48))) == {200}
    cluster.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    statuses = Counter(map(status, range(20)))
    assert statuses[200] >= 19
    assert set(statuses) <= {200, 503}


def test_a_web_process_killed_while_publishing_loses_nothing_and_its_clients_move_and_come_back(
    cluster: Cluster,
) -> None:
    traffic = Traffic(cluster, "web")
    killed = cluster.webs[0]
    with traffic.flowing():
        time.sleep(random.uniform(0.0, 0.5))
        killed.kill()
        traffic.more(10)
        traffic.reaches(traffic.on_the_move, "everybody who moved")
        killed.start()
        traffic.reaches(traffic.at_home, "everybody who came back")


def test_a_lost_last_announcement_is_found_within_five_seconds(cluster: Cluster, redis_url: str) -> None:
    cluster.webs[0].call("POST", "/feeds", {"slug": "last", "public": True})
    with watch(cluster.webs[0], "/ws/feeds/last/") as socket:
        read_values(socket, 1)
        for value in range(1, TRIES + 1):
            code = f"from realtime.feeds import publish; publish('last', {value})"
            # Announced on another Redis: nobody who watches hears of it.
            elsewhere = threading.Thread(target=cluster.shell, args=(code,), kwargs={"REDIS_URL": redis_url})
            elsewhere.start()
            try:
                message = read(socket)
                while "data" not in message:
                    message = read(socket)
                took_s = time.time() - datetime.fromisoformat(message["published_at"]).timestamp()
            finally:
                elsewhere.join()
            assert message["data"] == value
            if took_s < FOUND_WITHIN_S:
                break
        else:
            pytest.fail(f"found after {took_s:.1f} s, {TRIES} times")


def test_three_engines_poll_every_source_exactly_once_per_interval(cluster: Cluster) -> None:
    asked = {f"s{number:02}": Asked() for number in range(SOURCES)}
    for slug, each in asked.items():
        # One of them takes longer than its interval.
        cluster.upstream.on(f"/counter/{slug}", each.answering(after_s=1.5 if slug == "s00" else 0.0))
    engines = {engine.name for engine in cluster.engines}
    took_part: set[str] = set()

    def enough() -> bool:
        took_part.update(cluster.claims())
        runs = [asked[slug].longest_run(due[slug]) for slug in due if slug != "s00"]
        polled = min(runs) > INTERVALS and len(asked["s00"].arrivals) > INTERVALS / 2
        return polled and took_part == engines

    with cluster.polling(SOURCES, interval_s=1, timeout_s=5) as due:
        # Each look is a connection to PostgreSQL, which the engines' machine has to make as well.
        wait_until(enough, f"{INTERVALS} intervals in a row with one poll each, by all", 120, every_s=0.25)
    for slug, next_due in cluster.next_polls(SOURCES).items():
        assert asked[slug].most_at_once == 1, f"{slug} was polled by two engines at once"
        # A poll that is late by more than half an interval, on a busy machine, stands for the next one too.
        intervals = round(next_due - due[slug])
        assert len(asked[slug].arrivals) <= intervals, f"{slug} was polled twice in an interval"


def test_the_sources_of_a_killed_engine_are_polled_by_others_within_an_interval_and_15_seconds(
    cluster: Cluster,
) -> None:
    interval_s, timeout_s, count = 1.0, 2.0, 12
    slugs = [f"s{number:02}" for number in range(count)]
    slow = after(0.5, answers(lambda step: b'{"value": %d}' % step))
    for slug in slugs:
        cluster.upstream.on(f"/counter/{slug}", slow)
    with cluster.polling(count, interval_s=interval_s, timeout_s=timeout_s):
        cluster.wait_for_polls(slugs, 1)
        claims: dict[str, set[str]] = {}

        def claimed() -> bool:
            claims.update(cluster.claims())
            return bool(claims)

        wait_until(claimed, "an engine is polling")
        busiest, held = max(claims.items(), key=lambda claim: len(claim[1]))
        (killed,) = (engine for engine in cluster.engines if engine.name == busiest)
        killed.kill()
        died = time.monotonic()
        # What it held when it died, and what it was seen with before: that may have been done by then.
        cluster.wait_for_polls(held | cluster.claims().get(killed.name, set()), 1)
        # Promised are an interval and 15 s; the machine of a test may be busy.
        assert time.monotonic() - died < 30
    killed.start()


def is_back_on_redis(process: Server) -> bool:
    """Whether it noticed that Redis was away, and that it was there again."""
    away, back = (process.output.count(event) for event in ("layer_away", "layer_back"))
    return away == back > 0


class Asked:
    """How a source is asked: when, and how many requests were under way at once."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.most_at_once = 0
        self._under_way = 0

    def answering(self, *, after_s: float) -> Reply:
        """A counter that takes its time."""
        counting = after(after_s, answers(lambda step: b'{"value": %d}' % step))

        async def reply(heard: Heard, writer: StreamWriter) -> bool:
            self.arrivals.append(time.time())
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
            try:
                return await counting(heard, writer)
            finally:
                self._under_way -= 1

        return reply

    def longest_run(self, due: float) -> int:
        """The most intervals of a second in a row that saw one request each."""
        slots = [int(at - due + EARLY_S) for at in list(self.arrivals)]
        longest = run = 0
        for before, slot in pairwise([-2, *slots]):
            run = run + 1 if slot == before + 1 else 1
            longest = max(longest, run)
        return longest
