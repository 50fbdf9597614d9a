"""`make bench`: server CPU a delivery, latency from publishing to receipt, losses, and memory a connection.

Every round measures each server in turn, afresh, so that a machine whose speed drifts drifts for all of them.
The server has one core, the load client, the publisher and Redis share the other. Prints the medians of all
rounds and writes every row to var/bench/fanout.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.fanout.servers import ROOT, SERVERS, free_port, missing, program

Row = dict[str, Any]
SHAPES = ((1000, 10.0, 160), (5000, 2.0, 160))


def measure(name: str, shape: tuple[int, float, int], seconds: float, folder: Path, redis_url: str) -> Row:
    """One server, one shape, one round."""
    subscribers, rate, size = shape
    server_core, client_core = _cores()
    start, kind = SERVERS[name]
    with start(kind, folder, server_core, redis_url) as server:
        idle_kb = server.rss_kb()
        words = [f"--first-words={words}" for words in server.first_words]
        place = [str(server.port), server.path, str(subscribers), "--core", str(client_core)]
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fanout.load", *place, *words],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as load:  # fmt: skip
            assert load.stdout is not None
            opened = load.stdout.readline()
            if not opened:
                raise RuntimeError(f"{name}: the load client did not get in")
            time.sleep(0.5)
            each_kb = (server.rss_kb() - idle_kb) / subscribers
            before = server.cpu_s()
            last = subprocess.run(
                [
                    *(sys.executable, "-m", "benchmarks.fanout.publisher", *server.publisher),
                    *("--rate", str(rate), "--seconds", str(seconds)),
                    *("--bytes", str(size), "--core", str(client_core)),
                ],
                cwd=ROOT, env=os.environ | server.env, check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
            result = json.loads(load.communicate(last)[0].splitlines()[-1])
            used = server.cpu_s() - before
    return {
        "server": name,
        "subscribers": subscribers,
        "rate": rate,
        "bytes": size,
        "cpu_us_per_delivery": used / max(1, result["delivered"]) * 1e6,
        **{key: result[key] for key in ("p50_ms", "p99_ms", "lost", "doubled", "reordered")},
        "rss_kb_per_connection": each_kb,
    }


def _cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]


def show(rows: list[Row]) -> None:
    """Medians by server and shape; losses are summed, because one is one too many."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["subscribers"], row["rate"], row["bytes"], row["server"]].append(row)
    print(f"{'server':26}{'subs':>6}{'rate':>6}{'bytes':>7}{'CPU µs':>9}{'p50 ms':>9}{'p99 ms':>9}"
          f"{'lost':>8}{'doubled':>9}{'reordered':>11}{'KB/conn':>9}")  # fmt: skip
    for (subscribers, rate, size, name), some in groups.items():
        middle = {key: statistics.median(row[key] for row in some) for key in some[0] if key != "server"}
        total = {key: sum(row[key] for row in some) for key in ("lost", "doubled", "reordered")}
        print(
            f"{name:26}{subscribers:6}{rate:6g}{size:7}{middle['cpu_us_per_delivery']:9.1f}"
            f"{middle['p50_ms']:9.1f}{middle['p99_ms']:9.1f}{total['lost']:8}{total['doubled']:9}"
            f"{total['reordered']:11}{middle['rss_kb_per_connection']:9.1f}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="of publishing, each (default 6)")
    parser.add_argument(
        "--only", action="append", choices=SERVERS, help="measure only this server; repeatable"
    )
    parser.add_argument(
        "--shapes", type=int, default=len(SHAPES), help="how many of the shapes (default all)"
    )
    options = parser.parse_args()
    names = []
    for name in options.only or SERVERS:
        if how := missing(name):
            print(f"{name} is not measured: it is not installed ({how}).")
        else:
            names.append(name)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        port = free_port()
        redis = [
            "redis-server",
            "--port",
            str(port),
            "--save",
            "",
            "--appendonly",
            "no",
            "--bind",
            "127.0.0.1",
        ]
        with program(redis, port, _cores()[1], {}, Path(folder) / "redis-log"):
            for number in range(options.rounds):
                for shape in SHAPES[: options.shapes]:
                    for name in names:
                        place = Path(folder) / name
                        place.mkdir(exist_ok=True)
                        rows.append(measure(name, shape, options.seconds, place, f"redis://127.0.0.1:{port}"))
                        print(f"round {number + 1}: {json.dumps(rows[-1])}", file=sys.stderr, flush=True)
    show(rows)
    target = ROOT / "var" / "bench" / "fanout.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
