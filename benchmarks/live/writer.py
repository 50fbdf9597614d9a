"""Commits changes of orders at a steady rate, over a connection of its own, and prints them as JSON.

Each change is one transaction that writes the change's number into the totals of some rows, one statement a
row. `sql` is raw SQL by psycopg, of which no Django process is told. `orm` is `save()` in a process that has
the observers' consumers loaded, because their signals are heard nowhere else; what they send is sent here,
after each commit, and counts as this process's CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from benchmarks.live.receipts import Change

# Writes a number into these rows; when COMMIT was sent, and when it was answered.
Commit = Callable[[int, Sequence[int]], tuple[int, int]]

# A number that has no factor in common with the number of customers: each is touched in turn, none in order.
STRIDE = 617
# Changes before the first that counts, so seldom that whoever is slow is done with them.
WARMING_UP, WARMING_UP_RATE = 3, 0.5


@contextmanager
def by_sql() -> Iterator[Commit]:
    import psycopg

    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=1) as connection:

        def commit(number: int, rows: Sequence[int]) -> tuple[int, int]:
            connection.execute("BEGIN")
            for row in rows:
                connection.execute("UPDATE orders_order SET total = %s WHERE id = %s", (number, row))
            before = time.time_ns()
            connection.execute("COMMIT")
            return before, time.time_ns()

        yield commit


@contextmanager
def by_orm() -> Iterator[Commit]:
    from django.db import transaction

    from benchmarks.live import observers  # noqa: F401 - their settings, models and signals
    from docs.examples.orders.models import Order

    def commit(number: int, rows: Sequence[int]) -> tuple[int, int]:
        answered: list[int] = []
        with transaction.atomic():
            transaction.on_commit(lambda: answered.append(time.time_ns()))  # before those of the observers
            for order in Order.objects.filter(pk__in=rows):
                order.total = number
                order.save()
            before = time.time_ns()
        return before, answered[0]

    yield commit


def customer_of(number: int, customers: int) -> int:
    """Whose orders a change touches, from 1."""
    return number * STRIDE % customers + 1


def write_all(
    commit: Commit, numbers: Sequence[int], rate: float, orders: Sequence[Sequence[int]]
) -> list[Change]:
    """Commit a change of each number, never sooner than `1 / rate` after the one before: none is made up for.

    orders    the rows that a change touches, by customer
    """
    made = []
    due = time.monotonic()
    for number in numbers:
        due = max(due + 1 / rate, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        customer = customer_of(number, len(orders))
        moments = commit(number, orders[customer - 1])
        made.append(Change(number, *moments, customer - 1 if len(orders) > 1 else None))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("sql", "orm"))
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first", type=int, required=True, help="the first number that counts")
    parser.add_argument("--orders", required=True, help="JSON: the rows to touch, by customer")
    parser.add_argument("--core", type=int, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    orders = json.loads(options.orders)
    with contextlib.ExitStack() as stack:
        commit = stack.enter_context(by_sql() if options.kind == "sql" else by_orm())
        used = time.process_time()
        warming_up = range(options.first - WARMING_UP, options.first)
        write_all(commit, warming_up, WARMING_UP_RATE, orders)
        made = write_all(commit, range(options.first, options.first + options.count), options.rate, orders)
        used = time.process_time() - used
    changes = [(each.number, each.committing_ns, each.committed_ns, each.watcher) for each in made]
    print(json.dumps({"changes": changes, "cpu_s": used}))


if __name__ == "__main__":
    main()
