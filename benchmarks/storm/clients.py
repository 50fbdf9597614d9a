"""Many clients that come back: one epoll loop of WebSockets that resume from their last position.

When its socket is lost, a client tries again at a random moment within `--within` seconds; when it is refused
or lost again before it has caught up, after a back-off with jitter. It has caught up with the status that
ends every start. Offsets are checked one by one over all of its connections: each must follow the last.

Prints a line of JSON when all have caught up, first and after each loss of the server, and the result when
its input, after a line with the moment at which the server was back, names the last offset of each feed.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import os
import random
import re
import select
import socket
import statistics
import sys
import time
from typing import Any

from benchmarks.wire import PING, PONG_FRAME, TEXT, frames

MESSAGE = re.compile(rb'\{"type":"(\w+)","feed":"[^"]+"(?:,"epoch":"([^"]+)","offset":(\d+))?')
SENT = re.compile(rb'"ts":(\d+)')
OPENING_AT_ONCE = 50
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 3.0
# An attempt that has led to nothing after this long has failed.
PATIENCE_S = 30.0

AWAY, OPENING, STARTING, LIVE = range(4)


class Client:
    """One client. `began` is when each of its attempts began; `last` the offset of what it was told last."""

    __slots__ = ("began", "data", "due", "epoch", "feed", "last", "pause", "recovered", "socket", "state")

    def __init__(self, feed: int) -> None:
        self.feed = feed
        self.socket: socket.socket | None = None
        self.state = AWAY
        self.data = b""
        self.epoch = ""
        self.last = 0
        self.pause = FIRST_PAUSE_S
        self.due = 0.0
        self.began: list[float] = []
        self.recovered = 0.0


class Clients:
    def __init__(self, port: int, slugs: list[str], count: int, within_s: float) -> None:
        self.address, self.slugs, self.within_s = ("127.0.0.1", port), slugs, within_s
        self.all = [Client(number % len(slugs)) for number in range(count)]
        self.poll = select.epoll()
        self.by_number: dict[int, Client] = {}
        self.due: list[tuple[float, int, Client]] = []
        self.live = self.refused = self.lost = self.doubled = self.reordered = self.resets = 0
        self.latencies: list[int] = []
        self.words, self.back, self.wanted, self.deadline = b"", 0.0, [2**63] * len(slugs), float("inf")

    def later(self, client: Client, seconds: float) -> None:
        client.due = time.monotonic() + seconds
        heapq.heappush(self.due, (client.due, id(client), client))

    def open(self, client: Client) -> None:
        """Begin an attempt, from where the client stands."""
        client.began.append(time.monotonic())
        client.socket = socket.socket()
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.socket.setblocking(False)
        client.state, client.data = OPENING, b""
        client.socket.connect_ex(self.address)
        self.by_number[client.socket.fileno()] = client
        self.poll.register(client.socket, select.EPOLLOUT)
        self.later(client, PATIENCE_S)

    def ask(self, client: Client) -> None:
        """The connection stands: ask for the upgrade."""
        assert client.socket is not None
        since = f"?since={client.epoch}:{client.last}" if client.epoch else ""
        with contextlib.suppress(OSError):  # reading tells
            client.socket.send(
                f"GET /ws/feeds/{self.slugs[client.feed]}/{since} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
        self.poll.modify(client.socket, select.EPOLLIN)

    def lose(self, client: Client) -> None:
        """The socket is gone: come back at a random moment, or after a back-off."""
        assert client.socket is not None
        del self.by_number[client.socket.fileno()]
        client.socket.close()
        client.socket = None
        if client.state == LIVE:
            self.live -= 1
            client.began.clear()
            client.pause = FIRST_PAUSE_S
            self.later(client, random.uniform(0, self.within_s))
        else:
            self.refused += 1
            self.later(client, client.pause * random.uniform(0.5, 1.5))
            client.pause = min(client.pause * 2, LONGEST_PAUSE_S)
        client.state = AWAY

    def turn(self, timeout_s: float) -> None:
        """Whatever has come, and whoever is due."""
        now = time.monotonic()
        if self.due:
            timeout_s = min(timeout_s, max(0.0, self.due[0][0] - now))
        for number, events in self.poll.poll(timeout_s, 512):
            if number == sys.stdin.fileno():
                self.hear()
                continue
            client = self.by_number.get(number)
            if client is None:
                continue
            if events & (select.EPOLLOUT | select.EPOLLIN) == select.EPOLLOUT:
                self.ask(client)
            else:
                self.read(client)
        while self.due and self.due[0][0] <= time.monotonic():
            moment, _, client = heapq.heappop(self.due)
            if moment != client.due:
                continue  # something else came first
            if client.state == AWAY:
                self.open(client)
            elif client.state != LIVE:
                self.lose(client)

    def read(self, client: Client) -> None:
        assert client.socket is not None
        try:
            chunk = client.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.lose(client)
            return
        data = client.data + chunk
        if client.state == OPENING:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                client.data = head
                return
            if b" 101 " not in head:
                self.lose(client)
                return
            client.state = STARTING
        client.data = self.frames(client, data, time.monotonic_ns())

    def frames(self, client: Client, data: bytes, now: int) -> bytes:
        """Take every whole frame; what is left over."""
        rest = 0
        for opcode, start, rest in frames(data):
            if opcode == PING:
                assert client.socket is not None
                client.socket.send(PONG_FRAME)
            elif opcode == TEXT:
                self.take(client, data, start, rest, now)
        return data[rest:]

    def take(self, client: Client, data: bytes, at: int, end: int, now: int) -> None:
        match = MESSAGE.match(data, at, end)
        if match is None:
            return  # an error; the close follows
        if not match[2]:
            if client.state == STARTING:
                client.state, client.recovered = LIVE, now / 1e9
                self.live += 1
            return
        offset, epoch = int(match[3]), match[2].decode()
        if match[1] != b"update":
            self.resets += bool(client.epoch)
        elif offset == client.last:
            self.doubled += 1
        elif offset < client.last:
            self.reordered += 1
        else:
            self.lost += offset - client.last - 1
        client.epoch, client.last = epoch, offset
        if client.state == LIVE:
            sent = SENT.search(data, at, end)
            if sent is not None:
                self.latencies.append(now - int(sent[1]))

    def hear(self) -> None:
        """The input: the moment at which the server was back, then the last offsets. Ends with it."""
        self.words += os.read(sys.stdin.fileno(), 65_536) or sys.exit("the benchmark has ended")
        *lines, self.words = self.words.split(b"\n")
        for line in lines:
            if line.startswith(b"["):
                self.wanted, self.deadline = json.loads(line), time.monotonic() + 10
            else:
                self.back = float(line)

    def run(self) -> dict[str, Any]:
        """Until the input has named the last offsets and all have them, or ten seconds later."""
        for start in range(0, len(self.all), OPENING_AT_ONCE):
            for client in self.all[start : start + OPENING_AT_ONCE]:
                self.open(client)
            while any(client.state != LIVE for client in self.all[start : start + OPENING_AT_ONCE]):
                self.turn(1)
        self.say(open=self.live)
        calm: list[int] = []
        stormy: list[int] = []
        self.refused, self.latencies = 0, calm
        self.poll.register(sys.stdin.fileno(), select.EPOLLIN)
        while self.live == len(self.all):
            self.turn(0.2)
        self.latencies = stormy
        while self.live < len(self.all):
            self.turn(0.2)
        self.latencies = []
        self.say(recovered=self.live)
        while time.monotonic() < self.deadline:
            self.turn(0.2)
            if all(client.last >= self.wanted[client.feed] for client in self.all):
                break
        for client in self.all:
            self.lost += max(0, self.wanted[client.feed] - client.last)
        own = [
            client.recovered - next((each for each in client.began if each >= self.back), client.began[-1])
            for client in self.all
        ]
        return {
            "caught_up_s": max(client.recovered for client in self.all) - self.back,
            **_cuts("own", own, 1),
            **_cuts("live", stormy, 1e-9),
            **_cuts("calm", calm, 1e-9),
            "refused": self.refused,
            "resets": self.resets,
            "lost": self.lost,
            "doubled": self.doubled,
            "reordered": self.reordered,
        }

    def say(self, **words: Any) -> None:
        print(json.dumps(words), flush=True)


def _cuts(name: str, values: list[Any], scale: float) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100) if len(values) > 1 else [0.0] * 99
    return {f"{name}_p50_s": cuts[49] * scale, f"{name}_p99_s": cuts[98] * scale}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("slugs", nargs="+")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--within", type=float, required=True)
    parser.add_argument("--core", type=int, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    clients = Clients(options.port, options.slugs, options.clients, options.within)
    clients.say(**clients.run())


if __name__ == "__main__":
    main()
