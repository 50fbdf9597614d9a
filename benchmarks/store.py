"""How many publications a second does the store commit? `make bench-store`: on SQLite and on PostgreSQL.

Many publishers wait for their commits at the same time, spread over the feeds; each is told only after the
transaction that holds its publication has ended. PostgreSQL is one of our own that writes to its disk before
it answers (`fsync` and `synchronous_commit` are on); SQLite is as the project sets it up. Announcements go to
the in-memory layer. Each database is measured in a process of its own; rows go to var/bench/store.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET_PER_S = 5_000


async def _measure(publishers: int, feeds_count: int, rounds: int) -> list[float]:
    """Publications a second in each round, the first (which warms up) left out."""
    from realtime.feeds.models import Feed
    from realtime.feeds.runtime import Feeds

    feeds = Feeds.current()

    def make() -> list[int]:
        return [
            feed.pk
            for feed in Feed.objects.bulk_create(
                Feed(slug=f"f{number}", title=f"f{number}") for number in range(feeds_count)
            )
        ]

    ids = await feeds.database.write(make)
    rates = []
    for round_ in range(rounds + 1):
        began = time.perf_counter()
        written = await asyncio.gather(
            *(
                feeds.store.publish(ids[number % feeds_count], {"round": round_, "value": number})
                for number in range(publishers)
            )
        )
        rates.append(publishers / (time.perf_counter() - began))
        assert all(each.publication is not None for each in written)
    stored = await feeds.database.read(lambda: sum(Feed.objects.values_list("offset", flat=True)))
    assert stored == publishers * (rounds + 1), "every acknowledged publication is there"
    await feeds.aclose()
    return rates[1:]


def _run_here(publishers: int, feeds: int, rounds: int) -> dict[str, Any]:
    """In the process that has the database's settings: migrate, measure, one row."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    name = connection.vendor
    connection.close()
    before = time.process_time()
    rates = asyncio.run(_measure(publishers, feeds, rounds))
    cpu_us = (time.process_time() - before) / (publishers * (rounds + 1)) * 1e6
    return {
        "database": name,
        "publishers": publishers,
        "feeds": feeds,
        "per_s": statistics.median(rates),
        "slowest_round_per_s": min(rates),
        "cpu_us_per_publication": cpu_us,
    }


def _run_in_process(arguments: list[str], url: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "HEADWATER_DATA_DIR": folder,
            "HEADWATER_LOG_LEVEL": "WARNING",
            "DATABASE_URL": url,
            "REDIS_URL": "",
        }
        command = [sys.executable, "-m", "benchmarks.store", "--here", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--publishers", type=int, default=5000, help="that wait at once (default 5,000)")
    parser.add_argument("--feeds", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(_run_here(options.publishers, options.feeds, options.rounds)))
        return 0
    from tests.services import Postgres

    arguments = sys.argv[1:]
    rows = [_run_in_process(arguments, "")]
    postgres = Postgres("fsync=on", "synchronous_commit=on", "full_page_writes=on")
    try:
        postgres.start()
        rows.append(_run_in_process(arguments, postgres.url))
    finally:
        postgres.close()
    for row in rows:
        print(
            f"{row['database']:>10}  {row['per_s']:>8,.0f} publications/s"
            f"  (slowest round {row['slowest_round_per_s']:,.0f},"
            f" {row['cpu_us_per_publication']:.0f} µs of Python's CPU each)"
        )
    target = ROOT / "var" / "bench" / "store.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(rows, indent=2) + "\n")
    kept = all(row["per_s"] >= TARGET_PER_S for row in rows)
    print(f"The target of {TARGET_PER_S:,} a second was {'' if kept else 'NOT '}met on both.")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
