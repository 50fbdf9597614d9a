"""Live queries while what keeps them true dies: another engine takes over, in the end nothing is missing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
from websockets.sync.client import ClientConnection

from tests.delivery.served import read, watch
from tests.services import wait_until

from .cluster import Cluster

pytestmark = pytest.mark.timeout(400)

ENGINE_OF = "SELECT engine FROM realtime_demand WHERE base = %s AND kept AND claimed_until > now()"
# The echo that an engine sends to itself comes after its LISTEN, and after what it tells itself then.
LISTENING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE application_name = 'headwater listening' AND query LIKE 'NOTIFY%%'"
)


class Changes(threading.Thread):
    """Inserts orders of one customer, one a transaction, past Headwater's code; `ids` are those committed."""

    def __init__(self, cluster: Cluster, customer: int) -> None:
        super().__init__(name="changes of rows")
        self._cluster = cluster
        self._customer = customer
        self._ended = threading.Event()
        self.ids: list[int] = []

    def run(self) -> None:
        insert = (
            "INSERT INTO orders_order (customer_id, total, open, note, created_at)"
            " VALUES (%s, 1, true, '', now()) RETURNING id"
        )
        while not self._ended.wait(0.02):
            self.ids.append(self._cluster.sql(insert, self._customer)[0][0])

    def more(self, count: int) -> None:
        """Return when so many more have been committed."""
        goal = len(self.ids) + count
        wait_until(lambda: len(self.ids) >= goal, f"{count} more orders", 60)

    def end(self) -> None:
        self._ended.set()
        self.join(30)


@contextmanager
def flowing(cluster: Cluster, customer: int) -> Iterator[Changes]:
    changes = Changes(cluster, customer)
    changes.start()
    try:
        yield changes
    finally:
        changes.end()


def engine_of(cluster: Cluster, name: str) -> str:
    """The engine that keeps the query true now; empty: none."""
    rows = cluster.sql(ENGINE_OF, name)
    return str(rows[0][0]) if rows else ""


def read_until(socket: ClientConnection, ids: list[int]) -> list[dict[str, Any]]:
    """All messages up to the one that shows exactly these orders; nothing is ever taken back before it."""
    messages, seen = [], 0
    while seen < len(ids):
        message = read(socket)
        messages.append(message)
        if "data" in message and message["data"] is not None:
            shown = [row["id"] for row in message["data"]]
            assert shown == ids[: len(shown)]
            assert len(shown) >= seen
            seen = len(shown)
    return messages


def test_when_the_engine_of_a_query_is_killed_while_rows_change_another_takes_over_and_nothing_is_missing(
    cluster: Cluster,
) -> None:
    ((customer,),) = cluster.sql("INSERT INTO orders_customer (name) VALUES ('Ana') RETURNING id")
    name = f"query:open-orders?customer={customer}"
    path = f"/ws/feeds/{quote(name, safe='')}/?token={cluster.webs[0].token}"
    with watch(cluster.webs[0], path) as one, watch(cluster.webs[1], path) as two:
        with flowing(cluster, customer) as changes:
            changes.more(20)
            wait_until(lambda: engine_of(cluster, name) != "", "an engine keeps the query true")
            holder = engine_of(cluster, name)
            (killed,) = (engine for engine in cluster.engines if engine.name == holder)
            killed.kill()
            changes.more(20)
            wait_until(lambda: engine_of(cluster, name) not in ("", holder), "another one does", 60)
            changes.more(20)
        for socket in (one, two):
            messages = read_until(socket, changes.ids)
            offsets = [message["offset"] for message in messages if "offset" in message]
            assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
    killed.start()


def test_changes_made_while_postgresql_restarts_are_all_shown_in_the_end(cluster: Cluster) -> None:
    ((customer,),) = cluster.sql("INSERT INTO orders_customer (name) VALUES ('Ben') RETURNING id")
    name = f"query:open-orders?customer={customer}"
    path = f"/ws/feeds/{quote(name, safe='')}/?token={cluster.webs[0].token}"
    insert = (
        "INSERT INTO orders_order (customer_id, total, open, note, created_at)"
        " SELECT %s, 1, true, '', now() FROM generate_series(1, 5) RETURNING id"
    )
    with watch(cluster.webs[0], path) as socket:
        ids = [row[0] for row in cluster.sql(insert, customer)]
        read_until(socket, ids)
        cluster.postgres.stop()
        cluster.postgres.start()
        ids += [row[0] for row in cluster.sql(insert, customer)]
        read_until(socket, ids)


def test_engines_share_queries_so_that_each_is_kept_true_by_one(cluster: Cluster) -> None:
    # One that begins to listen later evaluates everything that it holds once more.
    wait_until(lambda: cluster.sql(LISTENING) == [(len(cluster.engines),)], "every engine listens")
    ids = [
        row[0]
        for row in cluster.sql(
            "INSERT INTO orders_customer (name) SELECT 'c' || n FROM generate_series(1, 20) n RETURNING id"
        )
    ]
    feeds = "&".join(f"feed={quote(f'query:open-orders?customer={each}', safe='')}" for each in ids)
    with watch(cluster.webs[0], f"/ws/feeds/?{feeds}&token={cluster.webs[0].token}") as socket:
        told: dict[str, int] = {}
        while len(told) < len(ids):
            message = read(socket)
            if message.get("data") == []:
                told[message["feed"]] = message["offset"]
        cluster.sql(
            "INSERT INTO orders_order (customer_id, total, open, note, created_at)"
            " VALUES (%s, 1, true, '', now())",
            ids[0],
        )
        while not read(socket).get("data"):
            pass
        counted = "SELECT sum(evaluations)::int FROM realtime_demand WHERE base = ANY(%s)"
        slugs = [f"query:open-orders?customer={each}" for each in ids]
        wait_until(lambda: cluster.sql(counted, slugs)[0][0] == len(ids) + 1, "one evaluation for one change")
