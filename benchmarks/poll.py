"""Does the engine keep its schedule? `make bench-poll`: 2,000 sources at 10 s on one core.

A local upstream, a process of its own on another core, notes when each request arrives and answers with a
value that always differs, so that every poll is also a publication. Lateness is arrival minus the scheduled
time. The engine runs on SQLite in a temporary folder. Results go to var/bench/poll.json.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
START_S = 2.0
# Timers may fire this much before their time.
EARLY_S = 0.005


class _Answers(asyncio.Protocol):
    """HTTP/1.1 for GET requests that arrive in one piece, as they do on loopback."""

    def __init__(self, arrivals: list[tuple[int, float]]) -> None:
        self._arrivals = arrivals

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        number = int(data.split(b" ", 2)[1].rpartition(b"/")[2])
        self._arrivals.append((number, time.time()))
        body = b'{"sensor": {"id": %d, "value": %d}, "unit": "ms"}' % (number, len(self._arrivals))
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )


async def _upstream() -> None:
    """Serve until standard input ends, then print all arrivals."""
    arrivals: list[tuple[int, float]] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Answers(arrivals), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()
    json.dump(arrivals, sys.stdout)


def _make_sources(count: int, interval_s: float, port: int, first: float) -> list[float]:
    """Rows whose first polls are spread over one interval; when each is due."""
    from realtime.feeds.models import Feed
    from realtime.sources.models import Extraction, Source

    due = [first + interval_s * number / count for number in range(count)]
    feeds = Feed.objects.bulk_create(
        Feed(slug=f"f{number}", title=f"f{number}", kind="source", state="stale") for number in range(count)
    )
    sources = Source.objects.bulk_create(
        Source(
            slug=f"s{number}",
            title=f"s{number}",
            url=f"http://127.0.0.1:{port}/{number}",
            interval_s=interval_s,
            next_poll_at=datetime.fromtimestamp(moment, UTC),
        )
        for number, moment in enumerate(due)
    )
    Extraction.objects.bulk_create(
        Extraction(source=source, feed=feed, expression="sensor.value")
        for source, feed in zip(sources, feeds, strict=True)
    )
    return due


async def _run_engine(first: float, run_s: float) -> float:
    """Run until `run_s` after the first poll; the share of a core that the engine used from then on."""
    from realtime.engine import Engine
    from realtime.feeds.runtime import Feeds

    feeds = Feeds.current()
    async with Engine(feeds):
        await asyncio.sleep(first - time.time())
        before, began = sum(psutil.Process().cpu_times()[:2]), time.perf_counter()
        await asyncio.sleep(run_s)
        used = sum(psutil.Process().cpu_times()[:2]) - before
        share = used / (time.perf_counter() - began)
    await feeds.aclose()
    return float(share)


def _judge(
    arrivals: list[tuple[int, float]], due: list[float], interval_s: float, end: float
) -> dict[str, float]:
    """Lateness in seconds, and the slots before `end` that were missed or polled more than once."""
    polled: Counter[tuple[int, int]] = Counter()
    late = []
    for number, moment in arrivals:
        slot = int((moment - due[number] + EARLY_S) // interval_s)
        if moment < end:
            polled[number, slot] += 1
            late.append(moment - due[number] - slot * interval_s)
    # What is due in the last second may rightly come after the end.
    wanted = sum(max(0, int((end - 1 - moment) // interval_s) + 1) for moment in due)
    seen = sum(1 for number, slot in polled if due[number] + slot * interval_s <= end - 1)
    cuts = statistics.quantiles(late, n=100)
    return {
        "polls": len(late),
        "median_late_s": statistics.median(late),
        "p95_late_s": cuts[94],
        "p99_late_s": cuts[98],
        "max_late_s": max(late),
        "missed": wanted - seen,
        "doubled": sum(times - 1 for times in polled.values()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=int, default=2000)
    parser.add_argument("--interval", type=float, default=10.0, help="seconds (default 10)")
    parser.add_argument("--seconds", type=float, default=40.0, help="how long to measure (default 40)")
    parser.add_argument("--upstream", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if options.upstream:
        os.sched_setaffinity(0, {cores[-1]})
        asyncio.run(_upstream())
        return 0
    upstream = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.poll", "--upstream"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert upstream.stdout is not None
    os.sched_setaffinity(0, {cores[0]})
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder, contextlib.ExitStack() as stack:
        stack.callback(upstream.kill)
        port = int(upstream.stdout.readline())
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "HEADWATER_DATA_DIR": folder,
            "HEADWATER_ALLOWED_NETWORKS": f"127.0.0.1/32:{port}",
            "HEADWATER_LOG_LEVEL": "WARNING",
            "DATABASE_URL": "",
            "REDIS_URL": "",
        }
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        first = time.time() + START_S + options.sources / 2000
        due = _make_sources(options.sources, options.interval, port, first)
        connection.close()
        share = asyncio.run(_run_engine(first, options.seconds))
        arrivals = json.loads(upstream.communicate("")[0])
    result = _judge(arrivals, due, options.interval, first + options.seconds)
    result = {
        "sources": options.sources,
        "interval_s": options.interval,
        "seconds": options.seconds,
        "polls_per_s": result["polls"] / options.seconds,
        "engine_cpu_share_of_core": share,
        **result,
    }
    for name, value in result.items():
        print(f"{name:>26}  {value:,.4g}" if value < 1000 else f"{name:>26}  {value:,.0f}")
    kept = result["median_late_s"] < 0.2 and not result["missed"] and not result["doubled"]
    print(f"The schedule was {'' if kept else 'NOT '}kept (median below 0.2 s, none missed or doubled).")
    target = ROOT / "var" / "bench" / "poll.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
