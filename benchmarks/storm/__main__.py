"""`make bench-storm`: 5,000 clients, a `kill -9`, a restart; how soon do all have everything again?

The server has one core; the clients, the publisher and Redis share the other. Publishing goes on all the
time, in another process, through the store. Prints a row for each variant and writes var/bench/storm.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.beside import beside, tell, told
from benchmarks.fanout.servers import ROOT, free_port, program, settings_of

LIMIT_S = 120
AWAY_S = 2.0
CALM_S = 3.0
# name: layer, feeds, publications a second to each feed
VARIANTS = {
    "redis-1": ("redis", 1, 10.0),
    "redis-50": ("redis", 50, 10.0),
    "memory-1": ("memory", 1, 10.0),
    "memory-50": ("memory", 50, 10.0),
}
CREATE = "from realtime.feeds.catalog import create_feed\nfor slug in {!r}: create_feed(slug, public=True)"


def storm(name: str, clients: int, within_s: float, folder: Path, redis_url: str) -> dict[str, Any]:
    """One variant, from an empty database on."""
    layer, feeds, rate = VARIANTS[name]
    cores = sorted(os.sched_getaffinity(0))
    port = free_port()
    env = settings_of(folder, port, redis_url if layer == "redis" else "")
    slugs = [f"feed-{number}" for number in range(feeds)]
    manage = [sys.executable, "manage.py"]
    for command in (["migrate", "-v0"], ["shell", "-c", CREATE.format(slugs)]):
        subprocess.run([*manage, *command], cwd=ROOT, env=os.environ | env, check=True, capture_output=True)
    serve = [*manage, "serve", "--no-engine"]
    log = folder / "log"
    here = ("--core", str(cores[-1]))
    counts = ("--clients", str(clients), "--within", str(within_s))
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(program(serve, port, cores[0], env, log))
        publisher = stack.enter_context(
            beside("benchmarks.storm.publisher", *slugs, "--rate", str(rate), *here, env=env)
        )
        load = stack.enter_context(beside("benchmarks.storm.clients", str(port), *slugs, *counts, *here))
        told(load)
        time.sleep(CALM_S)
        first.kill()
        killed = time.monotonic()
        time.sleep(AWAY_S)
        restarted = time.monotonic()
        second = stack.enter_context(program(serve, port, cores[0], env, log))
        back = time.monotonic()
        tell(load, back)
        start_cpu_s = sum(second.cpu_times()[:2])
        told(load)
        storm_cpu_s = sum(second.cpu_times()[:2]) - start_cpu_s
        time.sleep(CALM_S)
        assert publisher.stdin is not None
        publisher.stdin.close()
        tell(load, told(publisher))
        result = told(load)
        peak_mb = peak_kb(second) / 1024
    return {
        "variant": name,
        "clients": clients,
        "feeds": feeds,
        "rate": rate,
        "away_s": back - killed,
        "start_s": back - restarted,
        "after_restart_s": result["caught_up_s"] + back - restarted,
        **result,
        "server_cpu_s": storm_cpu_s,
        "peak_rss_mb": peak_mb,
    }


def peak_kb(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


COLUMNS = (
    ("clients", "clients", "{}"),
    ("after_restart_s", "all back s", "{:.1f}"),
    ("own_p50_s", "own p50", "{:.2f}"),
    ("own_p99_s", "own p99", "{:.2f}"),
    ("live_p99_s", "live p99", "{:.2f}"),
    ("calm_p99_s", "calm p99", "{:.2f}"),
    ("server_cpu_s", "CPU s", "{:.1f}"),
    ("peak_rss_mb", "RSS MB", "{:.0f}"),
    ("refused", "refused", "{}"),
    ("lost", "lost", "{}"),
    ("doubled", "doubled", "{}"),
    ("reordered", "reordered", "{}"),
)


def show(rows: list[dict[str, Any]]) -> None:
    print(f"{'variant':12}" + "".join(f"{title:>11}" for _, title, _ in COLUMNS))
    for row in rows:
        print(f"{row['variant']:12}" + "".join(f"{form.format(row[key]):>11}" for key, _, form in COLUMNS))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--within", type=float, default=10.0, help="seconds in which all try again")
    parser.add_argument("--only", action="append", choices=VARIANTS, help="only this variant; repeatable")
    options = parser.parse_args()
    rows = []
    for name in options.only or VARIANTS:
        signal.alarm(LIMIT_S)  # a variant that hangs ends here; its processes end with this one
        with tempfile.TemporaryDirectory(prefix="headwater-storm-") as folder:
            port = free_port()
            redis = ["redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1"]
            core = max(os.sched_getaffinity(0))
            with program([*redis, "--appendonly", "no"], port, core, {}, Path(folder) / "redis-log"):
                rows.append(
                    storm(name, options.clients, options.within, Path(folder), f"redis://127.0.0.1:{port}")
                )
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    show(rows)
    target = ROOT / "var" / "bench" / "storm.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


def _too_long(*_: Any) -> None:
    raise TimeoutError(f"this variant took more than {LIMIT_S} s")


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, _too_long)
    sys.exit(main())
