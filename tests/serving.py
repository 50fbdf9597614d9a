"""A real `manage.py serve` process for tests: its own data folder and port, killed and restarted at will.

The database is migrated once per test session and copied for every server. A server that printed a
traceback fails its test, whatever else the test looked at.
"""

from __future__ import annotations

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

import psycopg
import psycopg.sql

from tests.services import START_TIMEOUT_S, dying_with_us, wait_until

ROOT = Path(__file__).resolve().parent.parent
TRACEBACK = "Traceback (most recent call last)"
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
    """A migrated, empty database that servers start from: SQLite, or PostgreSQL by `postgres_url`."""

    def __init__(self, folder: Path, postgres_url: str = "") -> None:
        self.folder = folder
        self.postgres_url = postgres_url
        self._copies = 0
        manage(environment(folder, **self._database("template")), "migrate", "-v", "0")

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

    def __init__(self, data_dir: Path, env: Mapping[str, str], args: tuple[str, ...] = ()) -> None:
        self.data_dir = data_dir
        self.env = dict(env)
        self.args = args
        self.process: subprocess.Popen[bytes] | None = None
        self.port = int(env.get("PORT", "0"))
        self._log = data_dir / "server.log"
        self._began = 0

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

    def wait(self) -> None:
        """Return when what was launched answers."""
        wait_until(self._answers, "the server answers")
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

    def close(self) -> None:
        """The end of a test: ended if it still runs, and nothing that it printed may be a traceback."""
        self.kill()
        if TRACEBACK in self.output:
            raise AssertionError(f"the server printed a traceback:\n{self.output[-8000:]}")


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
