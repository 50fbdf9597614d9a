"""A local upstream for tests and measurements: every good and bad thing that a source can meet.

In a test: `with Upstream() as upstream: upstream.on("/price", says({"usd": 1}))`. It serves from a thread
of its own, so it suits tests that block and tests that await. Alone: `python -m tests.upstream --port 9000`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import ssl
import sys
import threading
from asyncio import StreamReader, StreamWriter
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Self

from . import upstream_data
from .upstream_replies import (
    Heard,
    Reply,
    after,
    answers,
    bomb,
    drips,
    endless,
    half,
    hangs_up,
    head,
    later,
    never,
    redirects,
)

KEPT_PER_PATH = 100
END_LIMIT_S = 5.0

FEED = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>Builds</title><id>urn:builds</id>
<updated>2026-01-02T03:04:05Z</updated>
<entry><id>urn:builds:1</id><title>Build 1 passed</title><updated>2026-01-02T03:04:05Z</updated>
<link href="https://builds.example/1"/><summary>42 tests</summary></entry></feed>"""

METRICS = """# HELP jobs_total Jobs finished.
# TYPE jobs_total counter
jobs_total{queue="mail"} 3
jobs_total{queue="files"} 4
# TYPE load gauge
load 0.25
"""

_ROUTES: dict[str, Reply] = {
    "/replay/earthquakes": answers(upstream_data.quakes_at),
    "/replay/weather": answers(
        lambda step: upstream_data.csv_at("seattle_weather", step), content_type="text/csv"
    ),
    "/replay/stocks": answers(lambda step: upstream_data.csv_at("stocks", step), content_type="text/csv"),
    "/replay/price": answers(upstream_data.price_at),
    "/feed": answers(FEED, content_type="application/atom+xml"),
    "/metrics": answers(METRICS, content_type="text/plain; version=0.0.4"),
    "/text": answers("21.5 °C\n", content_type="text/plain; charset=utf-8"),
    "/latin": answers("21.5 °C\n".encode("latin-1"), content_type="text/plain; charset=iso-8859-1"),
    "/invalid-utf8": answers(b'{"value": "\xff\xfe"}'),
    "/html": answers("<!doctype html><title>Log in</title>", content_type="text/html"),
    "/nan": answers(b'{"value": NaN}'),
    "/deep": answers(b"[" * 100_000 + b"]" * 100_000),
    "/drip": drips,
    "/half": half,
    "/endless": endless,
    "/bomb": bomb,
    "/never": never,
    "/hangup": hangs_up,
    "/loop": redirects("/loop"),
}

# `/<name>/<rest>`: the reply is made from the rest.
_FAMILIES: dict[str, Callable[[str], Reply]] = {
    "counter": lambda rest: answers(lambda step: b'{"value": %d}' % (step + 1)),
    "fixed": lambda rest: answers(
        b'{"value": 1}', etag=f'"{rest}"', last_modified="Fri, 02 Jan 2026 03:04:05 GMT"
    ),
    "status": lambda rest: answers("so it is", status=int(rest), content_type="text/plain"),
    "later": later,
    "slow": lambda rest: after(float(rest), answers(lambda step: b'{"value": %d}' % (step + 1))),
    "bytes": lambda rest: answers(b"1" * int(rest)),
    "hops": lambda rest: redirects(f"/hops/{int(rest) - 1}" if int(rest) > 1 else "/fixed/hops"),
}


class Upstream:
    """An HTTP/1.1 server on loopback, in a thread of its own from `start` to `stop`.

    requests    how many requests have come, by path
    heard       the last ones of each path
    connections how many connections have been accepted
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = port
        self.requests: Counter[str] = Counter()
        self.heard: defaultdict[str, deque[Heard]] = defaultdict(lambda: deque(maxlen=KEPT_PER_PATH))
        self.connections = 0
        self._tls = tls
        self._replies: dict[str, Reply] = {}
        self._arrived = threading.Condition()
        self._open: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upstream", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        if not self._ready.wait(30):
            raise RuntimeError("The upstream did not start.")
        return self

    def stop(self) -> None:
        """Drop all connections and end the thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def url(self, path: str = "/") -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}{path}"

    def on(self, path: str, reply: Reply) -> str:
        """From now on this path replies so. Returns its URL."""
        self._replies[path] = reply
        return self.url(path)

    def wait_for(self, path: str, count: int = 1, timeout_s: float = 30.0) -> None:
        """Block until so many requests have come to the path since the start."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self.requests[path] >= count, timeout_s):
                raise TimeoutError(f"{path}: {self.requests[path]} of {count} requests in {timeout_s:g} s.")

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(
            self._connected, self.host, self.port, ssl=self._tls, backlog=4096
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_LIMIT_S):
                await self._end_all()

    async def _end_all(self) -> None:
        """Cancel the connections and wait until each has closed, also one that is only just beginning."""
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for connection in self._open:
                connection.cancel()
            await asyncio.wait(others, timeout=0.05)
        await asyncio.sleep(0)  # a transport lets its socket go in the turn after the one that closes it

    async def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        # Cancelled only by `_serve`; the streams' own callback would report it as an error.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer(reader, writer):
                pass
        self._open.discard(task)
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
            await writer.wait_closed()

    async def _answer(self, reader: StreamReader, writer: StreamWriter) -> bool:
        heard = await _read(reader)
        if heard is None:
            writer.write(head(400, {"Connection": "close"}))
            return False
        heard = replace(heard, step=self.requests[heard.path])
        with self._arrived:
            self.requests[heard.path] += 1
            self.heard[heard.path].append(heard)
            self._arrived.notify_all()
        return await self._reply_for(heard.path)(heard, writer)

    def _reply_for(self, path: str) -> Reply:
        reply = self._replies.get(path) or _ROUTES.get(path)
        if reply is None:
            _, family, rest = f"{path}/".split("/", 2)
            make = _FAMILIES.get(family)
            reply = make(rest.rstrip("/")) if make else answers("nothing here", status=404)
            self._replies[path] = reply
        return reply


def closed_port() -> int:
    """A port of 127.0.0.1 at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _read(reader: StreamReader) -> Heard | None:
    """The next request; None for what is not HTTP, such as a TLS handshake."""
    first = await reader.readexactly(1)
    if not first.isalpha():
        return None
    lines = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return Heard(method, path, query, headers, body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    with Upstream(host=options.host, port=options.port) as upstream:
        sys.stdout.write(f"{upstream.url()}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            upstream._thread.join()


if __name__ == "__main__":
    main()
