"""The neutral load client: many WebSocket subscribers in one epoll loop: the server is the bottleneck.

A message counts when it holds `"sn":<number from 0>, "ts":<CLOCK_MONOTONIC in ns>` and perhaps
`"f":<number of the feed>`, whatever is around them. It prints one line of JSON when all are subscribed, and
one with the result when its input ends.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import socket
import statistics
import struct
import sys
import time

from benchmarks.wire import PING, PONG_FRAME, frames

MESSAGE = re.compile(rb'"sn": ?(\d+), ?"ts": ?(\d+)(?:, ?"f": ?(\d+))?')
CENTRIFUGE_PING = b"{}"
OPENING_AT_ONCE = 50


class Subscriber:
    """One connection, the bytes of it that are no whole frame yet, and the last number of each feed."""

    __slots__ = ("data", "last", "open", "reads", "socket", "subscribed", "words")

    def __init__(self, address: tuple[str, int], path: str, words: list[str], *, reads: bool = True) -> None:
        self.socket = socket.socket()
        if not reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(address)
        self.reads = reads
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.socket.send(
            f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.data = b""
        self.words = words
        self.open = self.subscribed = False
        self.last: dict[int, int] = {}


def masked(text: str) -> bytes:
    """A client's text frame, masked with zeros."""
    payload = text.encode()
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    return b"\x81" + size + b"\0\0\0\0" + payload


class Load:
    def __init__(
        self,
        port: int,
        path: str,
        connections: int,
        first_words: list[str],
        answer: str,
        *,
        stalled: int,
        feeds: int,
    ) -> None:
        self.address = ("127.0.0.1", port)
        self.answer = answer.encode()
        self.path, self.first_words = path, first_words
        self.connections, self.readers, self.feeds = connections + stalled, connections, feeds
        self.every_feed = "{n}" not in "".join([path, *first_words])
        self.poll = select.epoll()
        self.subscribers: dict[int, Subscriber] = {}
        self.opened = self.closed = self.lost = self.doubled = self.reordered = 0
        self.latencies: list[int] = []
        self.began = time.monotonic_ns()

    def open_all(self) -> None:
        while self.opened < self.connections:
            while (
                len(self.subscribers) < self.connections
                and len(self.subscribers) - self.opened < OPENING_AT_ONCE
            ):
                number = len(self.subscribers)
                feed = str(number % self.feeds)
                path, *words = (text.replace("{n}", feed) for text in (self.path, *self.first_words))
                each = Subscriber(self.address, path, words, reads=number < self.readers)
                self.subscribers[each.socket.fileno()] = each
                self.poll.register(each.socket, select.EPOLLIN)
            self.turn(10)

    def turn(self, timeout_s: float) -> None:
        for number, _ in self.poll.poll(timeout_s, 512):
            each = self.subscribers.get(number)
            if each is not None:
                self.read(each)

    def read(self, each: Subscriber) -> None:
        try:
            chunk = each.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        now = time.monotonic_ns()
        if not chunk:
            self.closed += 1
            self.poll.unregister(each.socket)
            if each.reads and not each.open:
                sys.exit("closed before it was open")
            return
        data = each.data + chunk
        if not each.open:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                each.data = head
                return
            if b" 101 " not in head:
                sys.exit(f"refused: {head[:200]!r}")
            each.open = True
            for words in each.words:
                each.socket.send(masked(words))
            if not self.answer:
                self.enter(each)
        if each.reads or not each.subscribed:
            each.data = self.frames(each, data, now)

    def enter(self, each: Subscriber) -> None:
        """It is subscribed; from here on one that stands for a stalled client is not read."""
        each.subscribed = True
        self.opened += 1
        if not each.reads:
            self.poll.unregister(each.socket)

    def frames(self, each: Subscriber, data: bytes, now: int) -> bytes:
        """Count every whole frame; what is left over."""
        rest = 0
        for opcode, start, rest in frames(data):
            if opcode == PING:
                each.socket.send(PONG_FRAME)
            elif data[start:rest] == CENTRIFUGE_PING:
                each.socket.send(masked("{}"))
            else:
                if not each.subscribed and self.answer in data[start:rest]:
                    self.enter(each)
                for match in MESSAGE.finditer(data, start, rest):
                    self.count(each, int(match[1]), int(match[2]), int(match[3] or 0), now)
        return data[rest:]

    def count(self, each: Subscriber, number: int, sent: int, feed: int, now: int) -> None:
        if sent < self.began:
            return  # what an earlier round published last, as a first value
        self.latencies.append(now - sent)
        last = each.last.get(feed)
        if last is not None:
            if number == last:
                self.doubled += 1
            elif number < last:
                self.reordered += 1
            else:
                self.lost += number - last - 1
        each.last[feed] = number

    def missing(self, last: int) -> int:
        """How many publications the readers have not got, up to this number of every feed."""
        total = 0
        for number, each in enumerate(self.subscribers.values()):
            if each.reads:
                wanted = range(self.feeds) if self.every_feed else (number % self.feeds,)
                total += sum(last - each.last.get(feed, -1) for feed in wanted)
        return total

    def run(self) -> dict[str, float]:
        """Read until standard input names the last number published, then what is still under way."""
        self.poll.register(sys.stdin.fileno(), select.EPOLLIN)
        deadline = None
        while deadline is None or time.monotonic() < deadline:
            for number, _ in self.poll.poll(0.2, 512):
                if number == sys.stdin.fileno():
                    last = int(sys.stdin.readline())
                    self.poll.unregister(number)
                    deadline = time.monotonic() + 10
                elif number in self.subscribers:
                    self.read(self.subscribers[number])
            if deadline is not None and not self.missing(last):
                break
        # Who lacks the end lost it: nothing has come for it within ten seconds.
        self.lost += self.missing(last)
        cuts = statistics.quantiles(self.latencies, n=100) if len(self.latencies) > 1 else [0.0] * 99
        return {
            "delivered": len(self.latencies),
            "p50_ms": cuts[49] / 1e6,
            "p99_ms": cuts[98] / 1e6,
            "lost": self.lost,
            "doubled": self.doubled,
            "reordered": self.reordered,
            "closed": self.closed,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("connections", type=int)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--stalled", type=int, default=0, help="further connections that never read")
    parser.add_argument("--feeds", type=int, default=1)
    parser.add_argument("--first-words", action="append", default=[])
    parser.add_argument("--answer", default="", help="what the answer to the first words holds, if any comes")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    load = Load(
        options.port,
        options.path,
        options.connections,
        options.first_words,
        options.answer,
        stalled=options.stalled,
        feeds=options.feeds,
    )
    load.open_all()
    print(json.dumps({"open": load.opened}), flush=True)
    print(json.dumps(load.run()), flush=True)


if __name__ == "__main__":
    main()
