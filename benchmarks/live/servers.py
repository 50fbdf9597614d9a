"""What is measured: Headwater as a cluster runs it, and the observers on Daphne, on databases of their own.

Both databases hold the same rows, in one PostgreSQL that writes to its disk before it answers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil
import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks.fanout.servers import ROOT, free_port, program, settings_of
from tests.services import Postgres, Redis, wait_until

CUSTOMERS, ORDERS = 1_000, 100_000
# One order in five is open: a customer's query shows 20 of 100.
FILL = f"""
INSERT INTO orders_customer (name) SELECT 'Customer ' || n FROM generate_series(1, {CUSTOMERS}) n;
INSERT INTO orders_order (customer_id, total, open, note, created_at)
SELECT (n - 1) % {CUSTOMERS} + 1, 0, (n - 1) / {CUSTOMERS} % 5 = 0, '', now()
FROM generate_series(1, {ORDERS}) n ORDER BY n;
ANALYZE
"""
OPEN = f"""
SELECT customer_id, array_agg(id ORDER BY id) FROM orders_order WHERE open AND customer_id <= {CUSTOMERS}
GROUP BY customer_id ORDER BY customer_id
"""
TOKEN = "from realtime.feeds.access import create_token; print(create_token('bench', ['read'])[1])"
MIGRATE = """
from benchmarks.live import observers
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""
TOTAL = r'"total": ?"?(\d+)'


@dataclass(frozen=True)
class Services:
    """PostgreSQL and Redis, on the clients' core."""

    postgres: Postgres
    redis: Redis

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far; of PostgreSQL's processes also those that have ended."""
        postgres = _process(self.postgres)
        ended = postgres.cpu_times()
        used = sum(cpu_s(each) for each in (postgres, *postgres.children()))
        return {
            "postgres": used + ended.children_user + ended.children_system,
            "redis": cpu_s(_process(self.redis)),
        }


@contextmanager
def services(core: int) -> Iterator[Services]:
    """Both, started afresh and pinned to `core`, with all that they start later."""
    postgres = Postgres("fsync=on", "synchronous_commit=on", "full_page_writes=on")
    redis = Redis()
    try:
        ours = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})  # which what is started from here on inherits
        try:
            postgres.start()
            redis.start()
        finally:
            os.sched_setaffinity(0, ours)
        yield Services(postgres, redis)
    finally:
        postgres.close()
        redis.close()


def _process(service: Postgres | Redis) -> psutil.Process:
    assert service.process is not None
    return psutil.Process(service.process.pid)


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds of this process so far; 0 when it has ended."""
    try:
        return sum(process.cpu_times()[:2])
    except psutil.NoSuchProcess:
        return 0.0


@dataclass(frozen=True)
class Running:
    """A server, and how the load client watches it.

    path, words   `{n}` is the number of the watcher, from 1
    answer        a watcher watches when it is told this
    parts         messages that tell of one change; see `receipts.reckon`
    """

    port: int
    processes: Mapping[str, psutil.Process]
    path: str
    words: tuple[str, ...]
    answer: str
    parts: int


class Server(Protocol):
    """What can be measured: prepared once, started afresh in every round."""

    database_url: str
    writer: str
    env: dict[str, str]

    def start(self, core: int, *, apart: bool, rows: int) -> AbstractContextManager[Running]:
        """Start it. `apart`: each watcher has a customer of its own, instead of all the first one."""


class Headwater:
    """A web process and an engine, and the example's query of a customer's open orders."""

    writer = "sql"

    def __init__(self, folder: Path, services: Services) -> None:
        self.folder = folder
        self.database_url = create_database(services, "headwater")
        self.env = settings_of(folder, 0, services.redis.url) | {
            "DATABASE_URL": self.database_url,
            "HEADWATER_APPS": "docs.examples.orders",
            # Each evaluation is to be one for a change.
            "HEADWATER_QUERY_RECHECK_S": "3600",
        }
        run([sys.executable, "manage.py", "migrate", "-v0"], self.env)
        fill(self.database_url)
        self.token = run([sys.executable, "manage.py", "shell", "-v0", "-c", TOKEN], self.env)

    @contextmanager
    def start(self, core: int, *, apart: bool, rows: int) -> Iterator[Running]:
        port = free_port()
        manage, env = [sys.executable, "manage.py"], self.env | {"PORT": str(port)}
        customer = "{n}" if apart else "1"
        with ExitStack() as stack:
            web = stack.enter_context(
                program([*manage, "serve", "--no-engine"], port, core, env, self.folder / "web-log")
            )
            engine = stack.enter_context(engine_of(env, core, self.folder / "engine-log"))
            yield Running(
                port,
                {"web": web, "engine": engine},
                f"/ws/feeds/query:open-orders/?customer={customer}&token={self.token}",
                (),
                '"type":"snapshot"',
                0,
            )


class Observers:
    """Daphne with the observers of this benchmark, over one of channels-redis' layers."""

    writer = "orm"

    def __init__(self, folder: Path, services: Services, layer: str) -> None:
        self.folder = folder
        self.database_url = create_database(services, f"observers_{layer}")
        self.env = {
            "OBSERVERS_LAYER": layer,
            "REDIS_URL": services.redis.url,
            "DATABASE_URL": self.database_url,
        }
        run([sys.executable, "-c", MIGRATE], self.env)
        fill(self.database_url)

    @contextmanager
    def start(self, core: int, *, apart: bool, rows: int) -> Iterator[Running]:
        port = free_port()
        command = [sys.executable, "-m", "daphne", "-v0", "-p", str(port)]
        command.append("benchmarks.live.observers:application")
        words = '{"action": "subscribe_to_orders", "request_id": 1, "customer": %s}'
        words %= "{n}" if apart else "1"
        with program(command, port, core, self.env, self.folder / "observers-log") as web:
            yield Running(port, {"web": web}, "/", (words,), '"watches"', rows)


@contextmanager
def engine_of(env: Mapping[str, str], core: int, log: Path) -> Iterator[psutil.Process]:
    """`manage.py engine`, pinned to `core`, from the moment it says that it runs until it has ended."""
    log.write_text("")
    command = ["taskset", "-c", str(core), sys.executable, "manage.py", "engine"]
    with log.open("ab") as output:
        engine = subprocess.Popen(command, cwd=ROOT, env=os.environ | env, stdout=output, stderr=output)
    try:
        wait_until(lambda: "is running" in log.read_text() or engine.poll() is not None, "the engine runs")
        if engine.poll() is not None:
            raise RuntimeError(f"the engine ended at its start:\n{log.read_text()[-2000:]}")
        yield psutil.Process(engine.pid)
    finally:
        engine.terminate()
        engine.wait(20)


def create_database(services: Services, name: str) -> str:
    """The address of a new, empty database."""
    with psycopg.connect(services.postgres.url, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    return services.postgres.url_of(name)


def fill(database_url: str) -> None:
    """The rows, the same in every database."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in FILL.split(";"):
            connection.execute(statement)  # type: ignore[arg-type]


def open_orders(database_url: str) -> list[list[int]]:
    """The open orders of every customer, by their ids: those that its query shows."""
    with psycopg.connect(database_url) as connection:
        return [ids for _, ids in connection.execute(OPEN)]  # type: ignore[arg-type]


def evaluations(database_url: str) -> dict[int, int]:
    """How often the query was evaluated so far, by customer."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT base, evaluations FROM realtime_demand").fetchall()
    return {int(base.rpartition("customer=")[2]): count for base, count in rows}


def run(command: list[str], env: Mapping[str, str]) -> str:
    """Run it to its end; what it printed. Raises RuntimeError with all that it said on failure."""
    done = subprocess.run(command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()
