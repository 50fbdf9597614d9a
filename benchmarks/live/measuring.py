"""One measurement: a server on one core; the load client, the writer, PostgreSQL and Redis on another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from benchmarks.beside import beside, tell, told
from benchmarks.fanout.servers import ROOT
from benchmarks.live.receipts import astray
from benchmarks.live.servers import TOTAL, Running, Server, Services, cpu_s, evaluations, open_orders
from benchmarks.live.writer import WARMING_UP, customer_of

Row = dict[str, Any]

# Engines write down what they counted every two seconds.
STEADY_S, STEADY_LIMIT_S = 3.0, 60.0


@dataclass(frozen=True)
class Shape:
    """What is changed, and who watches.

    rate    changes a second, each of `rows` rows
    apart   each watcher has a customer's query of its own, and each change is of another customer
    """

    watchers: int
    rate: float
    rows: int
    apart: bool = False


def measure(
    name: str,
    server: Server,
    shape: Shape,
    seconds: float,
    cores: tuple[int, int],
    services: Services,
    numbers: range,
) -> Row:
    """One server, one shape, one round. `numbers`: those that it may use."""
    server_core, client_core = cores
    orders = [some[: shape.rows] for some in open_orders(server.database_url)]
    if not shape.apart:
        orders = orders[:1]
    first, count = numbers[WARMING_UP], int(shape.rate * seconds)
    changes = count + WARMING_UP
    with (
        server.start(server_core, apart=shape.apart, rows=shape.rows) as running,
        load_of(running, shape.watchers, client_core, first) as load,
    ):
        joined = told(load)
        before = steady_evaluations(server)
        used = cpu(running, services)
        written = write(server, shape.rate, count, first, orders, client_core)
        tell(load, {**written, "parts": running.parts})
        result = told(load)
        used = {each: now - used[each] for each, now in cpu(running, services).items()}
        after = steady_evaluations(server, sum(before.values()) + changes)
    began, ended = written["changes"][0][1], written["changes"][-1][1]
    row = {
        "server": name,
        "watchers": shape.watchers,
        "queries": len(orders),
        "rows": shape.rows,
        "rate": shape.rate,
        "achieved_rate": (count - 1) / (ended - began) * 1e9,
        **joined,
        **result,
        **{f"{each}_cpu_ms": seconds / changes * 1e3 for each, seconds in used.items()},
        "writer_cpu_ms": written["cpu_s"] / changes * 1e3,
        "server_cpu_ms": sum(used[each] for each in running.processes) / changes * 1e3,
    }
    if server.writer == "sql":
        concerned = [customer_of(number, len(orders)) for number in numbers[:changes]]
        for_nothing, missing = astray(before, after, concerned)
        row |= {
            "bursts": changes,
            "evaluations": sum(after.values()) - sum(before.values()),
            "evaluated_for_nothing": for_nothing,
            "not_evaluated": missing,
        }
    return row


def write(server: Server, rate: float, count: int, first: int, orders: list[list[int]], core: int) -> Any:
    """Have the writer commit its changes; what it prints."""
    command = [sys.executable, "-m", "benchmarks.live.writer", server.writer, "--rate", str(rate)]
    command += ["--count", str(count), "--first", str(first), "--core", str(core)]
    env = os.environ | {"DATABASE_URL": server.database_url} | server.env
    done = subprocess.run(
        [*command, "--orders", json.dumps(orders)],
        cwd=ROOT,
        env=env,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


def load_of(
    running: Running, watchers: int, core: int, first: int
) -> AbstractContextManager[subprocess.Popen[str]]:
    """The load client, which ends with this."""
    words = [f"--words={each}" for each in running.words]
    return beside(
        "benchmarks.live.load",
        *(str(running.port), running.path, str(watchers), "--core", str(core)),
        *(f"--answer={running.answer}", f"--number={TOTAL}", "--first", str(first), *words),
    )


def cpu(running: Running, services: Services) -> dict[str, float]:
    """CPU seconds so far, of each process of the server and of the services."""
    return {name: cpu_s(process) for name, process in running.processes.items()} | services.cpu_s()


def steady_evaluations(server: Server, expected: int = 0) -> dict[int, int]:
    """`evaluations`, once they have stayed the same, for longer if they are fewer than expected.

    Nothing of the observers.
    """
    if server.writer != "sql":
        return {}
    last, since = evaluations(server.database_url), time.monotonic()
    deadline = since + STEADY_LIMIT_S
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = evaluations(server.database_url)
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > STEADY_S * (1 if sum(now.values()) >= expected else 4):
            return now
    raise RuntimeError(f"queries are evaluated although nothing changes: {STEADY_LIMIT_S:g} s")
