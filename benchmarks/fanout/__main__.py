"""`make bench`: server CPU a delivery, latency from publishing to receipt, losses, and memory a connection.

First every server side by side: each round measures each server in turn, afresh, so that a machine whose
speed drifts drifts for all of them. Then how Headwater's cost grows. Prints medians and writes every row to
var/bench/fanout.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.fanout import growth
from benchmarks.fanout.measuring import Row, Shape, cores, measure
from benchmarks.fanout.servers import ROOT, SERVERS, free_port, missing, program

SHAPES = (Shape(1000, 10.0, 160), Shape(5000, 2.0, 160))
LOSSES = ("lost", "doubled", "reordered")


def middle(rows: list[Row]) -> Row:
    """The medians of one server's rows of one shape; losses are summed, because one is one too many."""
    row = {key: statistics.median(each[key] for each in rows) for key in rows[0] if key != "server"}
    return row | {key: sum(each[key] for each in rows) for key in LOSSES}


def show(rows: list[Row]) -> None:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["subscribers"], row["rate"], row["bytes"], row["server"]].append(row)
    print(f"{'server':26}{'subs':>6}{'rate':>6}{'bytes':>7}{'CPU µs':>9}{'p50 ms':>9}{'p99 ms':>9}"
          f"{'lost':>8}{'doubled':>9}{'reordered':>11}{'KB/conn':>9}")  # fmt: skip
    for (subscribers, rate, size, name), some in groups.items():
        row = middle(some)
        print(
            f"{name:26}{subscribers:6}{rate:6g}{size:7}{row['cpu_us_per_delivery']:9.1f}"
            f"{row['p50_ms']:9.1f}{row['p99_ms']:9.1f}{row['lost']:8}{row['doubled']:9}"
            f"{row['reordered']:11}{row['rss_kb_per_connection']:9.1f}"
        )


def installed(names: Iterable[str]) -> list[str]:
    """Those of the servers that can be measured; says of the others how they would be had."""
    found = []
    for name in names:
        if how := missing(name):
            print(f"{name} is not measured: it is not installed ({how}).")
        else:
            found.append(name)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="of the comparison (default 5)")
    parser.add_argument("--growth-rounds", type=int, default=1, help="of how the cost grows (default 1)")
    parser.add_argument("--seconds", type=float, default=6.0, help="of publishing, each (default 6)")
    parser.add_argument(
        "--only", action="append", choices=SERVERS, help="measure only this server; repeatable"
    )
    parser.add_argument(
        "--shapes", type=int, default=len(SHAPES), help="how many of the shapes (default all)"
    )
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        port = free_port()
        redis = ["redis-server", "--port", str(port), "--bind", "127.0.0.1"]
        redis += ["--save", "", "--appendonly", "no"]

        def measured(name: str, shape: Shape, seconds: float) -> Row:
            place = Path(folder) / name
            place.mkdir(exist_ok=True)
            rows.append(measure(name, shape, seconds, place, f"redis://127.0.0.1:{port}"))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
            return rows[-1]

        with program(redis, port, cores()[1], {}, Path(folder) / "redis-log"):
            names = installed(options.only or SERVERS)
            for _ in range(options.rounds):
                for shape in SHAPES[: options.shapes]:
                    for name in names:
                        measured(name, shape, options.seconds)
            show(rows)
            if options.growth_rounds:
                rounds = [
                    [measured(growth.SERVER, shape, growth.seconds(shape)) for shape in growth.SHAPES]
                    for _ in range(options.growth_rounds)
                ]
                growth.show([middle(list(some)) for some in zip(*rounds, strict=True)])
    target = ROOT / "var" / "bench" / "fanout.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
