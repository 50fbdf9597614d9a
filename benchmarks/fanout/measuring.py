"""One measurement: a server on one core; the load client, the publisher and Redis on another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fanout.servers import ROOT, SERVERS

Row = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """What is published, and who watches.

    rate            publications a second of each feed; all feeds change at once
    bytes           of each value as JSON
    per_connection  feeds that one connection watches: one of them in turn, or all
    stalled         connections, besides the subscribers, that never read
    """

    subscribers: int
    rate: float
    bytes: int
    feeds: int = 1
    per_connection: int = 1
    stalled: int = 0


def cores() -> tuple[int, int]:
    """The server's core and that of everybody else."""
    ours = sorted(os.sched_getaffinity(0))
    return ours[0], ours[-1]


def measure(name: str, shape: Shape, seconds: float, folder: Path, redis_url: str) -> Row:
    """One server, one shape, one round."""
    server_core, client_core = cores()
    start, kind = SERVERS[name]
    with start(kind, folder, server_core, redis_url, shape.feeds) as server:
        idle_kb = server.rss_kb()
        path = server.path(shape.feeds, shape.per_connection)
        load = subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.fanout.load", str(server.port), path),
                *(str(shape.subscribers), "--stalled", str(shape.stalled), "--feeds", str(shape.feeds)),
                *("--core", str(client_core)),
                *(f"--first-words={words}" for words in server.first_words),
                f"--answer={server.answer}",
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with load:
            assert load.stdout is not None
            if not load.stdout.readline():
                raise RuntimeError(f"{name}: the load client did not get in")
            time.sleep(0.5)
            each_kb = (server.rss_kb() - idle_kb) / (shape.subscribers + shape.stalled)
            before = server.cpu_s()
            last = subprocess.run(
                [
                    *(sys.executable, "-m", "benchmarks.fanout.publisher", *server.publisher),
                    *("--rate", str(shape.rate), "--seconds", str(seconds), "--bytes", str(shape.bytes)),
                    *("--feeds", str(shape.feeds), "--core", str(client_core)),
                ],
                cwd=ROOT,
                env=os.environ | server.env,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout
            grown_kb = server.rss_kb() - idle_kb
            result = json.loads(load.communicate(last)[0].splitlines()[-1])
            used = server.cpu_s() - before
    return {
        "server": name,
        "subscribers": shape.subscribers,
        "rate": shape.rate,
        "bytes": shape.bytes,
        "feeds": shape.feeds,
        "per_connection": shape.per_connection,
        "stalled": shape.stalled,
        "cpu_us_per_delivery": used / max(1, result["delivered"]) * 1e6,
        **{key: result[key] for key in ("p50_ms", "p99_ms", "lost", "doubled", "reordered")},
        "rss_kb_per_connection": each_kb,
        "rss_mb_at_the_end": grown_kb / 1024,
    }
