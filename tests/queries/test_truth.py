"""What watchers hold is what a fresh query gives, whoever wrote, however: ORM, bulk, raw, another program.

One real server, one WebSocket that is told rows' deltas, and another process that writes. The interval's
re-check is out of the way: every change must be heard.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from websockets.sync.client import ClientConnection

from tests.delivery.applying import applied
from tests.delivery.served import watch
from tests.services import dying_with_us
from tests.serving import ROOT, Server, Template, environment

pytestmark = pytest.mark.database

PATIENCE_S = 60
CUSTOMERS = ["Ana", "Ben", "Çelik"]
TAGS = ["late", "gift"]

booleans = st.booleans()
places = st.integers(0, 2)
totals = st.integers(0, 99)
some_tags = st.sets(st.integers(0, 1))


class Writer:
    """The other process."""

    def __init__(self, server: Server) -> None:
        self.process = subprocess.Popen(
            [*dying_with_us(), sys.executable, "-m", "tests.queries.writer"],
            cwd=ROOT,
            env=server.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, deed: str, **what: Any) -> Any:
        """One step; raises AssertionError when the process has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": deed, **what}) + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        assert said, "the writer has ended: see its traceback"
        return json.loads(said)["done"]

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def truthful(serving_template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("truth") / "server"
    database = serving_template.copy(folder)
    env = environment(folder, HEADWATER_QUERY_RECHECK_S="86400", HEADWATER_QUERY_LIMIT_S="60", **database)
    server = Server(folder, env, token=serving_template.token)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def writer(truthful: Server) -> Iterator[Writer]:
    one = Writer(truthful)
    yield one
    one.close()


class Watcher:
    """One WebSocket with all queries; `values` is what it was told, deltas applied."""

    def __init__(self, server: Server, names: list[str]) -> None:
        feeds = "&".join(f"feed={quote(name, safe='')}" for name in names)
        self.leaving = ExitStack()
        path = f"/ws/feeds/?{feeds}&delta=rows&token={server.token}"
        self.socket: ClientConnection = self.leaving.enter_context(watch(server, path, max_size=None))
        self.values: dict[str, Any] = {}
        self.deltas = 0

    def hear(self) -> None:
        """The next message."""
        message = json.loads(self.socket.recv(timeout=PATIENCE_S))
        assert message["type"] in ("snapshot", "update", "status"), message
        if message["type"] == "status":
            assert message["state"] in ("fresh", "stale"), message
        elif "rows" in message:
            self.deltas += 1
            before = self.values[message["feed"]]
            self.values[message["feed"]] = applied(before, message["key"], message["rows"])
        else:
            self.values[message["feed"]] = message["data"]


def machine_of(server: Server, writer: Writer) -> type[RuleBasedStateMachine]:
    class Truth(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            made = writer.do("start", customers=CUSTOMERS, tags=TAGS)
            self.customers, self.tags = made["customers"], made["tags"]
            self.orders: list[int] = []
            self.names = [
                *(f"query:open-orders?customer={customer}" for customer in self.customers),
                *(f"query:orders-by-tag?tag={tag}" for tag in TAGS),
                *("query:order-count", "query:order-totals", "query:recent-orders"),
            ]
            self.watcher = Watcher(server, self.names)

        def row(self, place: int, *, is_open: bool, total: int) -> dict[str, Any]:
            return {"customer_id": self.customers[place], "open": is_open, "total": str(total)}

        def order(self, index: int) -> int:
            return self.orders[index % len(self.orders)] if self.orders else 0

        @rule(place=places, is_open=booleans, total=totals)
        def create(self, place: int, is_open: bool, total: int) -> None:
            self.orders.append(writer.do("create", **self.row(place, is_open=is_open, total=total)))

        @rule(index=st.integers(0, 50), place=places, is_open=booleans, total=totals)
        def change(self, index: int, place: int, is_open: bool, total: int) -> None:
            writer.do("change", order=self.order(index), **self.row(place, is_open=is_open, total=total))

        @rule(index=st.integers(0, 50))
        def note(self, index: int) -> None:
            """A column that no query of these but one reads."""
            writer.do("change", order=self.order(index), note="seen")

        @rule(index=st.integers(0, 50))
        def delete(self, index: int) -> None:
            writer.do("delete", order=self.order(index))

        @rule(place=places, name=st.sampled_from(["Ana", "Zoë", "Dot"]))
        def rename(self, place: int, name: str) -> None:
            writer.do("rename", customer=self.customers[place], name=name)

        @rule(index=st.integers(0, 50), which=some_tags)
        def tag(self, index: int, which: set[int]) -> None:
            writer.do("tag", order=self.order(index), tags=[self.tags[each] for each in which])

        @rule(rows=st.lists(st.tuples(places, booleans, totals), max_size=60))
        def bulk_create(self, rows: list[tuple[int, bool, int]]) -> None:
            writer.do("bulk_create", rows=[self.row(p, is_open=is_open, total=t) for p, is_open, t in rows])

        @rule(place=places, is_open=booleans)
        def update(self, place: int, is_open: bool) -> None:
            writer.do("update", where={"customer_id": self.customers[place]}, open=is_open)

        @rule(place=places, other=places)
        def move_all(self, place: int, other: int) -> None:
            where = {"customer_id": self.customers[place]}
            writer.do("update", where=where, customer_id=self.customers[other])

        @rule(place=places)
        def delete_all(self, place: int) -> None:
            writer.do("delete_all", where={"customer_id": self.customers[place]})

        @rule(place=places, total=totals)
        def raw(self, place: int, total: int) -> None:
            sql = "UPDATE orders_order SET total = %s WHERE customer_id = %s"
            writer.do("raw", sql=sql, params=[total, self.customers[place]])

        @rule(place=places, total=totals)
        def undone(self, place: int, total: int) -> None:
            """Rolled back: nothing is told of it."""
            create = {"do": "create", **self.row(place, is_open=True, total=total)}
            away = {"do": "delete_all", "where": {}}
            writer.do("undone", steps=[away, create])

        @rule(place=places, total=totals)
        def nested(self, place: int, total: int) -> None:
            first = {"do": "create", **self.row(place, is_open=True, total=total)}
            last = {"do": "update", "where": {"customer_id": self.customers[place]}, "note": "nested"}
            writer.do("nested", outer=[first, last], inner=[{"do": "delete_all", "where": {}}])

        @invariant()
        def what_watchers_hold_is_what_a_fresh_query_gives(self) -> None:
            if not hasattr(self, "watcher"):
                return
            for name in self.names:
                now = json.loads(writer.do("fresh", name=name))
                while (held := self.watcher.values.get(name, ...)) != now:
                    try:
                        self.watcher.hear()
                    except TimeoutError:
                        pytest.fail(f"{name} is {now}, and watchers hold {held}")

        def teardown(self) -> None:
            if hasattr(self, "watcher"):
                self.watcher.leaving.close()

    return Truth


def test_watchers_hold_what_a_fresh_query_gives_whoever_writes(truthful: Server, writer: Writer) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: machine_of(truthful, writer)(),
        settings=settings(max_examples=10, stateful_step_count=15, deadline=None),
    )
