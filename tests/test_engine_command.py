"""`manage.py engine` as a real process: stopped by a signal, killed, and started again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.services import wait_until
from tests.serving import ROOT, Template, environment
from tests.upstream import Upstream

SETUP = """
from datetime import timedelta
from django.utils import timezone
from tests.sources.rows import make_source
for number in range(5):
    make_source(f"s{number}", url=f"URL/counter/{number}", interval_s=0.5, timeout_s=5)
"""
OFFSETS = """
from realtime.feeds.models import Feed
print(*Feed.objects.order_by("pk").values_list("offset", flat=True))
"""
JOURNAL = """
from realtime.feeds.models import Feed
from realtime.sources.models import EngineSeen
for feed in Feed.objects.all():
    offsets = list(feed.entries.order_by("offset").values_list("offset", flat=True))
    assert offsets == list(range(1, feed.offset + 1)), offsets
    assert feed.state == "fresh", feed.state
print(EngineSeen.objects.count())
"""

Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def env(serving_template: Template, tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "data"
    return environment(folder, **serving_template.copy(folder))


@pytest.fixture
def start(env: dict[str, str]) -> Iterator[Start]:
    """Starts `manage.py engine` and returns once it says that it runs; all are killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def run() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "engine"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert "is running" in process.stdout.readline()
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def shell(env: dict[str, str], code: str) -> str:
    command = [sys.executable, "-c", f"import django; django.setup()\n{code}"]
    return subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout


def test_an_engine_killed_while_it_polls_leaves_no_hole_its_successor_goes_on_and_ends_on_a_signal(
    env: dict[str, str], start: Start
) -> None:
    with Upstream() as upstream:
        shell(env, SETUP.replace("URL", upstream.url("")))
        process = start()
        upstream.wait_for("/counter/4", 3)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
        before, left = dict(upstream.requests), shell(env, OFFSETS).split()
        process = start()
        for number in range(5):
            path = f"/counter/{number}"
            wait_until(lambda path=path: upstream.requests[path] >= before[path] + 3, path)  # type: ignore[misc]
        process.terminate()
        assert process.wait(30) == 0
    engines, *offsets = shell(env, JOURNAL + OFFSETS).split()
    # The last of its three polls may not be saved; the two before it are.
    assert all(int(now) >= int(then) + 2 for now, then in zip(offsets, left, strict=True))
    assert engines == "0"  # its successor took the one that was killed off the list, and then itself


def test_an_engine_ends_although_its_database_does_not_answer(env: dict[str, str], start: Start) -> None:
    process = start()
    path = Path(env["HEADWATER_DATA_DIR"]) / "headwater.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN IMMEDIATE")  # its sign-off waits for this, 20 s at least
        process.terminate()
        assert process.wait(18) == 1
