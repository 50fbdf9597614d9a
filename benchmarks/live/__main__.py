"""`make bench-live`: from the commit of a change of rows to its receipt by everybody who watches.

1,000 watchers of one query; 1,000 watchers of 1,000 queries of one table with 100,000 rows; and beside them
the common alternative, djangochannelsrestframework's observers, with 1,000 watchers of the same rows. Each
round measures each of them in turn, afresh. Headwater's changes are raw SQL; the observers hear `save()`
alone, so theirs are saves. PostgreSQL and Redis are started here. Prints medians and writes every row to
var/bench/live.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.fanout.servers import ROOT
from benchmarks.live.measuring import Row, Shape, measure
from benchmarks.live.receipts import middle
from benchmarks.live.servers import CUSTOMERS, Headwater, Observers, Server, Services, services

ONE = Shape(1_000, 20.0, 5)
APART = Shape(CUSTOMERS, 20.0, 1, apart=True)
BEARABLE = Shape(1_000, 1.0, 1)
SERVERS: dict[str, Callable[[Path, Services], Server]] = {
    "headwater": Headwater,
    "observers-core": lambda folder, services: Observers(folder, services, "core"),
    "observers-pubsub": lambda folder, services: Observers(folder, services, "pubsub"),
}
CASES = {
    "one query": ("headwater", ONE),
    "1,000 queries": ("headwater", APART),
    "observers, core layer": ("observers-core", ONE),
    "observers, pub/sub layer": ("observers-pubsub", ONE),
    "one query, 1 a second": ("headwater", BEARABLE),
    "observers, core layer, 1 a second": ("observers-core", BEARABLE),
    "observers, pub/sub layer, 1 a second": ("observers-pubsub", BEARABLE),
}
P50_MS, P99_MS = 15.0, 60.0
NUMBERS = 10_000  # of one measurement
COLUMNS = (
    ("rate", "rate", "{:g}"),
    ("rows", "rows", "{:g}"),
    ("p50_ms", "p50 ms", "{:.1f}"),
    ("p99_ms", "p99 ms", "{:.1f}"),
    ("read_p50_ms", "read p50", "{:.1f}"),
    ("read_p99_ms", "read p99", "{:.1f}"),
    ("lost", "lost", "{:g}"),
    ("doubled", "doubled", "{:g}"),
    ("server_cpu_ms", "CPU ms", "{:.1f}"),
    ("writer_cpu_ms", "writer", "{:.1f}"),
    ("postgres_cpu_ms", "database", "{:.1f}"),
    ("evaluations", "evaluated", "{:g}"),
    ("bursts", "bursts", "{:g}"),
)


def show(rows: list[Row]) -> bool:
    """The table of medians, and whether the targets are met."""
    print(f"{'':38}" + "".join(f"{title:>10}" for _, title, _ in COLUMNS))
    kept = True
    for case in CASES:
        some = [{key: value for key, value in row.items() if key not in ("case", "server")}
                for row in rows if row["case"] == case]  # fmt: skip
        if not some:
            continue
        row = middle(some)
        if not row["deliveries"]:
            row = {key: value for key, value in row.items() if not key.endswith(("p50_ms", "p99_ms"))}
        cells = (form.format(row[key]) if key in row else "" for key, _, form in COLUMNS)
        print(f"{case:38}" + "".join(f"{cell:>10}" for cell in cells))
        if CASES[case][0] == "headwater":
            kept &= not (row["lost"] or row["evaluated_for_nothing"] or row["not_evaluated"])
            kept &= row["p50_ms"] <= P50_MS and row["p99_ms"] <= P99_MS
    print(
        "Latency is from COMMIT to the arrival at each watcher's socket; read: until the load client, one "
        "process for all watchers, has read it. CPU is of the server's processes for each change."
    )
    print(
        "One evaluation for each change, of the queries that it concerns alone, nothing lost, "
        f"p50 ≤ {P50_MS:g} ms and p99 ≤ {P99_MS:g} ms: {'' if kept else 'NOT '}met."
    )
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of changes, each (default 10)")
    parser.add_argument("--only", action="append", choices=CASES, help="only this case; repeatable")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    pinned = cores[0], cores[-1]
    cases = {name: CASES[name] for name in options.only or CASES}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as place, services(pinned[1]) as shared:
        servers = {}
        for name in dict.fromkeys(name for name, _ in cases.values()):
            folder = Path(place) / name
            folder.mkdir()
            servers[name] = SERVERS[name](folder, shared)
        for turn in range(options.rounds * len(cases)):
            case = list(cases)[turn % len(cases)]
            name, shape = cases[case]
            numbers = range((turn + 1) * NUMBERS, (turn + 2) * NUMBERS)
            row = measure(name, servers[name], shape, options.seconds, pinned, shared, numbers)
            rows.append({"case": case, **row})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    target = ROOT / "var" / "bench" / "live.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(rows, indent=2) + "\n")
    return 0 if show(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
