"""The servers that are measured: how each is started, watched and published to."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


ADD_FEEDS = """
from realtime.feeds.models import Feed
names = [f"x{{number}}" for number in range({count})]
Feed.objects.bulk_create([Feed(slug=name, title=name, public=True) for name in names], ignore_conflicts=True)
"""


SUBSCRIBE = ('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"feed:x{n}"}}',)


@dataclass(frozen=True)
class Running:
    """A server that answers on `port`, and how to publish to it."""

    process: psutil.Process
    port: int
    one_path: str
    publisher: tuple[str, str]  # kind and target of `publisher`
    env: dict[str, str] = field(default_factory=dict)
    first_words: tuple[str, ...] = ()  # what a connection says when it is open, `{n}` as in the path
    answer: str = ""  # it is subscribed when a message holds this; empty: when it is open

    def path(self, feeds: int, per_connection: int) -> str:
        """What a connection asks for; `{n}` stands for the number of its feed."""
        if per_connection == 1:
            return self.one_path
        return "/ws/feeds/?" + "&".join(f"feed=x{number}" for number in range(feeds))

    def cpu_s(self) -> float:
        """CPU seconds of the server and its workers so far."""
        return sum(sum(each.cpu_times()[:2]) for each in self._all())

    def rss_kb(self) -> float:
        return sum(each.memory_info().rss for each in self._all()) / 1024

    def _all(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def program(
    command: list[str], port: int, core: int, env: dict[str, str], log: Path
) -> Iterator[psutil.Process]:
    """A server pinned to `core`, from the moment it accepts connections until it has ended."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            cwd=ROOT,
            env=os.environ | env,
            stdout=output,
            stderr=output,
        )
        try:
            deadline = time.monotonic() + 30
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[:4]} did not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.05)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def settings_of(folder: Path, port: int, redis_url: str) -> dict[str, str]:
    """A Headwater's: SQLite in `folder`, and the in-memory layer when `redis_url` is empty."""
    return {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "HEADWATER_DATA_DIR": str(folder / "data"),
        "HEADWATER_LOG_LEVEL": "WARNING",
        "DATABASE_URL": "",
        "REDIS_URL": redis_url,
        "HEADWATER_FEEDS_PER_SOCKET": "1000",
        "PORT": str(port),
    }


@contextmanager
def headwater(kind: str, folder: Path, core: int, redis_url: str, feeds: int) -> Iterator[Running]:
    """Headwater on Daphne (`daphne-memory`, `daphne-redis`) or on Uvicorn (`uvicorn-redis`).

    `centrifuge-redis` is on Daphne, by the door of the Centrifuge protocol.
    """
    server, layer = kind.split("-")
    port = free_port()
    env = settings_of(folder, port, redis_url if layer == "redis" else "")
    manage = [sys.executable, "manage.py"]

    def run(*words: str) -> str:
        return subprocess.run(
            [*manage, *words], cwd=ROOT, env=os.environ | env, check=True, capture_output=True, text=True
        ).stdout.strip()

    if not (folder / "data" / "headwater.sqlite3").exists():
        run("migrate", "-v0")
        (folder / "token").write_text(run("create_token", "bench", "--scope", "publish"))
    run("shell", "-v0", "-c", ADD_FEEDS.format(count=feeds))
    command = [*manage, "serve", "--no-engine"]
    if server == "uvicorn":
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "--port",
            str(port),
            "--log-level",
            "warning",
            "project.asgi:application",
        ]
    publisher = ("headwater", "x{n}")
    if layer == "memory":
        env["TOKEN"] = (folder / "token").read_text()
        publisher = ("http", f"http://127.0.0.1:{port}/api/feeds/x0/publish")
    with program(command, port, core, env, folder / "log") as process:
        if server == "centrifuge":
            yield Running(process, port, "/connection/websocket", publisher, env, SUBSCRIBE, '"subscribe":')
        else:
            yield Running(process, port, "/ws/feeds/x{n}/", publisher, env)


@contextmanager
def stock(kind: str, folder: Path, core: int, redis_url: str, feeds: int) -> Iterator[Running]:
    """The stock consumer on Daphne, over the `core` or the `pubsub` layer."""
    port = free_port()
    env = {"STOCK_LAYER": kind, "REDIS_URL": redis_url}
    command = [sys.executable, "-m", "daphne", "-p", str(port), "benchmarks.fanout.stock:application"]
    with program(command, port, core, env, folder / "log") as process:
        yield Running(process, port, "/", ("group", "x"), env)


@contextmanager
def nchan(kind: str, folder: Path, core: int, redis_url: str, feeds: int) -> Iterator[Running]:
    """nginx with Nchan, one worker."""
    port = free_port()
    settings = folder / "nginx.conf"
    settings.write_text(
        f"""load_module {NCHAN_MODULE};
worker_processes 1; worker_rlimit_nofile 65535; daemon off; pid {folder}/nginx.pid; error_log {folder}/log;
user root;
events {{ worker_connections 20000; }}
http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location /pub {{ nchan_publisher; nchan_channel_id x; nchan_message_buffer_length 100; }}
    location /sub {{ nchan_subscriber websocket; nchan_channel_id x; nchan_subscriber_first_message newest; }}
  }} }}
"""
    )
    with program(["nginx", "-c", str(settings)], port, core, {}, folder / "log") as process:
        yield Running(process, port, "/sub", ("http", f"http://127.0.0.1:{port}/pub"))


@contextmanager
def nats(kind: str, folder: Path, core: int, redis_url: str, feeds: int) -> Iterator[Running]:
    """NATS with its WebSocket door, on one core."""
    port, inner = free_port(), free_port()
    settings = folder / "nats.conf"
    settings.write_text(
        f'host: 127.0.0.1\nport: {inner}\nwebsocket {{ host: "127.0.0.1", port: {port}, no_tls: true }}\n'
    )
    env = {"GOMAXPROCS": "1"}
    with program(["nats-server", "-c", str(settings)], port, core, env, folder / "log") as process:
        words = ('CONNECT {"verbose": false}\r\n', "SUB x 1\r\n")
        yield Running(process, port, "/", ("nats", str(inner)), env, words)


SERVERS = {
    "headwater-daphne-memory": (headwater, "daphne-memory"),
    "headwater-daphne-redis": (headwater, "daphne-redis"),
    "headwater-centrifuge-redis": (headwater, "centrifuge-redis"),
    "headwater-uvicorn-redis": (headwater, "uvicorn-redis"),
    "stock-core": (stock, "core"),
    "stock-pubsub": (stock, "pubsub"),
    "nchan": (nchan, ""),
    "nats": (nats, ""),
}


def missing(name: str) -> str:
    """Why a server cannot be measured on this machine; empty when it can."""
    if name == "nchan" and not (NCHAN_MODULE.exists() and shutil.which("nginx")):
        return "apt-get install nginx libnginx-mod-nchan"
    if name == "nats" and not shutil.which("nats-server"):
        return "apt-get install nats-server"
    return ""
