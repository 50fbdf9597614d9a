"""Real Redis, PostgreSQL and nginx servers for tests: free ports, folders of their own, gone at the end.

Nothing here uses a server that runs already.

    python -m tests.services pytest …      runs a command with a PostgreSQL of its own as the tests' database
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.programs import find_program

START_TIMEOUT_S = 60.0


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel hands out for outgoing connections.

    Not from `random`, which the test runner seeds alike in every worker.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until(
    ready: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S, *, every_s: float = 0.02
) -> None:
    """Return once `ready()`, asked so often, is true; TimeoutError naming `what` when it never is."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} within {timeout_s:g} s")
        time.sleep(every_s)


def dying_with_us() -> list[str]:
    """A command prefix that ends the child when this process dies, even by SIGKILL, where it can be had."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class _Service:
    """A server process on `port`, its files in `folder`, its words in `folder/log`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"headwater-{type(self).__name__.lower()}-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def ready(self) -> bool:
        return accepts(self.port)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        self.process = process

        def up() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{type(self).__name__} ended at its start:\n{self.log}")
            return self.ready()

        wait_until(up, f"{type(self).__name__} answers")

    def kill(self, how: int = signal.SIGKILL) -> None:
        """End it now, as a crash would; its files stay, `start` brings it back on the same port."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(START_TIMEOUT_S)
            self.process = None

    def stop(self) -> None:
        self.kill(signal.SIGINT)

    def close(self) -> None:
        """End it and remove its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis(_Service):
    """A redis-server that keeps nothing on disk."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        program = find_program("redis-server")
        return [
            *dying_with_us(),
            *(program, "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--dir", str(self.folder)),
        ]


class Postgres(_Service):
    """A PostgreSQL cluster, made at construction, that trusts this machine and never waits for the disk.

    `settings` override that, as `fsync=on`. With `synchronous_commit=on` what was committed outlives `kill`.
    """

    def __init__(self, *settings: str) -> None:
        super().__init__()
        self._settings = settings
        # PostgreSQL refuses to run as root, so there it becomes somebody else, who then owns the folder.
        self._as: list[str] = dying_with_us()
        if os.geteuid() == 0:
            names = {user.pw_name: user for user in pwd.getpwall()}
            user = names.get("postgres") or names["nobody"]
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
            self._as += ["--pdeathsig", "KILL"]
        self.data = self.folder / "data"
        subprocess.run(
            [
                *self._as,
                *(find_program("initdb"), "-D", str(self.data), "-U", "headwater"),
                *("-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
        )

    def url_of(self, database: str) -> str:
        return f"postgres://headwater@127.0.0.1:{self.port}/{database}"

    @property
    def url(self) -> str:
        """The database `postgres`, which exists from the start."""
        return self.url_of("postgres")

    def command(self) -> list[str]:
        quick = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")
        settings = (*quick, "listen_addresses=127.0.0.1", "unix_socket_directories=", *self._settings)
        return [
            *self._as,
            *(find_program("postgres"), "-D", str(self.data), "-p", str(self.port)),
            *(part for setting in settings for part in ("-c", setting)),
        ]

    def kill(self, how: int = signal.SIGKILL) -> None:
        """As any service; returns once its children have ended too, which would keep it from starting."""
        children = psutil.Process(self.process.pid).children() if self.process is not None else []
        super().kill(how)
        psutil.wait_procs(children, START_TIMEOUT_S)

    def ready(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


class Nginx(_Service):
    """nginx with `deploy/nginx.conf` itself, in front of two web processes on these ports of this machine."""

    def __init__(self, web1: int, web2: int) -> None:
        super().__init__()
        ours = (Path(__file__).resolve().parent.parent / "deploy" / "nginx.conf").read_text()
        for written, here in {
            "web1:8000": f"127.0.0.1:{web1}",
            "web2:8000": f"127.0.0.1:{web2}",
            "listen 80 ": f"listen 127.0.0.1:{self.port} ",
            "/srv/static/": f"{self.folder}/static/",
        }.items():
            assert written in ours, f"deploy/nginx.conf has no {written!r}"
            ours = ours.replace(written, here)
        (self.folder / "default.conf").write_text(ours)
        folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{name}_temp_path {self.folder}/{name};" for name in folders)
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(
            f"{user} daemon off; worker_processes 2; pid {self.folder}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {temporary} include {self.folder}/default.conf; }}\n"
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        program = find_program("nginx")
        # By SIGTERM: killed, it would leave its workers behind.
        dying = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        return [*dying, program, "-e", "stderr", "-c", str(self.folder / "nginx.conf")]

    def kill(self, how: int = signal.SIGTERM) -> None:
        super().kill(how)


def main(command: list[str]) -> int:
    """Run `python -m COMMAND` with a PostgreSQL of its own as the tests' database; its exit code."""
    server = Postgres()
    try:
        server.start()
        environment = os.environ | {"HEADWATER_TEST_DATABASE_URL": server.url}
        return subprocess.call([sys.executable, "-m", *command], env=environment)
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
