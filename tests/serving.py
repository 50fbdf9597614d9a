"""A real `manage.py serve` process for tests: its own data folder and port, killed and restarted at will.

The database is migrated once per worker and copied for every server. A server that printed a traceback
fails its test, whatever else the test looked at.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import psycopg.sql

from tests.services import START_TIMEOUT_S, dying_with_us, wait_until

ROOT = Path(__file__).resolve().parent.parent
TRACEBACK = "Traceback (most recent call last)"
# One process for all of it: starting one costs more than what it does here.
FOUND = """
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
from realtime.feeds.access import create_token
client = Client()
client.force_login(User.objects.create_superuser("ana", password="long enough"))
print("session=" + client.cookies["sessionid"].value)
print("token=" + create_token("test", ["read", "publish", "manage"])[1])
"""
_ADDRESS = re.compile(r"http://(?:[\w.-]+|\[[^\]]+\]):(\d+)")
_ENGINE = re.compile(r"Engine (\S+) is running")


def environment(data_dir: Path, **extra: str) -> dict[str, str]:
    """What a Headwater process is started with: the shell's environment less the tests' settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HEADWATER_", "PYTEST_", "COV_"))
        # Compiling everything anew costs more than the rest of a start.
        and name not in ("DATABASE_URL", "REDIS_URL", "PORT", "PYTHONDONTWRITEBYTECODE")
    }
    return kept | {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "HEADWATER_DATA_DIR": str(data_dir),
        "HEADWATER_ALLOWED_NETWORKS": "127.0.0.1/32",
        "HEADWATER_APPS": "docs.examples.orders",
        "PORT": "0",
        "PYTHONUNBUFFERED": "1",
        **extra,
    }


def manage(env: Mapping[str, str], *args: str, stdin: str = "") -> str:
    """Run one management command to its end; its standard output. Raises with all that it said on failure."""
    done = subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=ROOT,
        env=dict(env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S * 2,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"manage.py {' '.join(args)} exited {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout


class Template:
    """A migrated database that servers start from: SQLite, or PostgreSQL by `postgres_url`.

    Nothing is in it but an administrator, `ana`, with a `session`, and a `token` that may do everything.
    Both are good in every copy.
    """

    def __init__(self, folder: Path, postgres_url: str = "") -> None:
        self.folder = folder
        self.postgres_url = postgres_url
        self._copies = 0
        said = manage(environment(folder, **self._database("template")), "shell", "-v", "0", "-c", FOUND)
        self.session, self.token = re.findall(r"^(?:session|token)=(\S+)$", said, re.M)

    def _database(self, name: str) -> dict[str, str]:
        if not self.postgres_url:
            return {}
        name = f"serve_{os.getpid()}_{name}"
        like = f"serve_{os.getpid()}_template"
        template = psycopg.sql.SQL("") if name == like else psycopg.sql.SQL(" TEMPLATE ") + _quoted(like)
        with psycopg.connect(self.postgres_url, autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE ") + _quoted(name) + template)
        return {"DATABASE_URL": self.postgres_url.rpartition("/")[0] + f"/{name}"}

    def copy(self, folder: Path) -> dict[str, str]:
        """Put a fresh copy into `folder`; the settings that make a process use it."""
        shutil.copytree(self.folder, folder)
        self._copies += 1
        return self._database(f"copy_{self._copies}")


def _quoted(name: str) -> psycopg.sql.Composable:
    return psycopg.sql.Identifier(name)


class Server:
    """One `manage.py serve`. `start()` returns when it answers; `env` and `args` may be changed before."""

    command = "serve"

    def __init__(
        self, data_dir: Path, env: Mapping[str, str], args: tuple[str, ...] = (), *, token: str = ""
    ) -> None:
        self.data_dir = data_dir
        self.env = dict(env)
        self.args = args
        self.token = token
        self.process: subprocess.Popen[bytes] | None = None
        self.port = int(env.get("PORT", "0"))
        self._log = data_dir / "server.log"
        self._began = 0
        self._checked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None, "the server is not running"
        return self.process.pid

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def output(self) -> str:
        """All that it printed, over all its starts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start it and wait until it answers. After a first start the port stays the same."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it and return at once, so that several can start side by side."""
        self._began = len(self.output)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*dying_with_us(), sys.executable, "manage.py", self.command, *self.args],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when what was launched answers."""
        wait_until(self._answers, "the server answers", timeout_s)
        self.env["PORT"] = str(self.port)

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"the server ended at its start:\n{self.output}")
        said = _ADDRESS.search(self.output, self._began)
        if said is None:
            return False
        self.port = int(said.group(1))
        try:
            urllib.request.urlopen(f"{self.url}/healthz", timeout=2).close()
        except urllib.error.HTTPError as answer:
            answer.close()
        except OSError:
            return False
        return True

    def manage(self, *args: str, stdin: str = "") -> str:
        """A management command beside the server, on the same database; what it printed."""
        return manage(self.env, *args, stdin=stdin)

    def call(self, method: str, path: str, body: Any = None, *, token: str = "") -> Any:
        """One request to its API; the answer's JSON. Raises OSError for anything but success."""
        request = urllib.request.Request(
            f"{self.url}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=START_TIMEOUT_S) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def empty(self) -> None:
        """Delete all sources and feeds."""
        for kind in ("sources", "feeds"):
            while rows := self.call("GET", f"/{kind}?limit=1000")[kind]:
                for row in rows:
                    self.call("DELETE", f"/{kind}/{row['slug']}")

    def kill(self) -> None:
        """SIGKILL, as a crash or a lost machine."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def restart(self) -> None:
        """SIGTERM, then a start on the same port and data."""
        self.terminate()
        self.start()

    def _end(self, how: int) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(how)
        code = self.process.wait(START_TIMEOUT_S)
        self.process = None
        return code

    def check(self) -> None:
        """AssertionError if it printed a traceback since this was asked last."""
        said = self.output[self._checked :]
        self._checked += len(said)
        if TRACEBACK in said:
            raise AssertionError(f"the server printed a traceback:\n{said[-8000:]}")

    def close(self) -> None:
        """The end of a test: ended if it still runs, and nothing that it printed may be a traceback."""
        self.kill()
        self.check()


class Engine(Server):
    """One `manage.py engine`: `start()` returns once it says that it runs. It claims sources as `name`."""

    command = "engine"
    name = ""

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"the engine ended at its start:\n{self.output}")
        said = _ENGINE.search(self.output, self._began)
        if said is not None:
            self.name = said.group(1)
        return said is not None
