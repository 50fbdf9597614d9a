"""The load client: many WebSocket watchers of rows in one epoll loop, each receipt with its moments.

A message counts when `--number` finds numbers in it, from `--first` on; the greatest counts. It prints one
line of JSON when all watch. Its input ends with one line: the changes that were committed, and in how many
`parts` each is told. When nothing has come for a while it prints what all of it comes to.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import socket
import struct
import sys
import time
from datetime import datetime
from typing import Any

from benchmarks.fanout.load import OPENING_AT_ONCE, Subscriber, masked
from benchmarks.live.receipts import Change, Receipts, reckon
from benchmarks.wire import PING, PONG_FRAME, TEXT, frames

PUBLISHED = re.compile(rb'"published_at":"([^"]+)"')
# The moment at which the kernel got what is read last; Python's `socket` lacks the name (socket(7)).
SO_TIMESTAMPNS = 35
MOMENT = struct.Struct("qq")
ANCILLARY = socket.CMSG_SPACE(MOMENT.size)
# Until when what is missing may still come: a server that lags says nothing for seconds.
QUIET_S, LONGEST_S = 10.0, 60.0


class Load:
    def __init__(
        self, port: int, path: str, count: int, words: list[str], answer: str, number: str, first: int
    ) -> None:
        self.address, self.path, self.count, self.words = ("127.0.0.1", port), path, count, words
        self.answer, self.number, self.first = answer.encode(), re.compile(number.encode()), first
        self.poll = select.epoll()
        self.by_socket: dict[int, tuple[int, Subscriber]] = {}
        self.subscribed = self.closed = 0
        self.receipts = Receipts()
        self.last: dict[int, int] = {}
        self.heard = time.monotonic()
        # The same message goes to everybody: it is looked at once.
        self.payload, self.found = b"", (0, 0)

    def open_all(self) -> None:
        for watcher in range(self.count):
            while watcher - self.subscribed >= OPENING_AT_ONCE:
                self.turn(10)
            fill = str(watcher + 1)
            path, *words = (text.replace("{n}", fill) for text in (self.path, *self.words))
            each = Subscriber(self.address, path, words)
            each.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.by_socket[each.socket.fileno()] = watcher, each
            self.poll.register(each.socket, select.EPOLLIN)
        while self.subscribed < self.count:
            self.turn(10)

    def turn(self, timeout_s: float) -> None:
        for number, _ in self.poll.poll(timeout_s, 512):
            if number in self.by_socket:
                self.read(*self.by_socket[number])

    def read(self, watcher: int, each: Subscriber) -> None:
        try:
            chunk, ancillary, _, _ = each.socket.recvmsg(1 << 18, ANCILLARY)
        except BlockingIOError:
            return
        except OSError:
            chunk, ancillary = b"", []
        now = time.time_ns()
        if not chunk:
            self.closed += 1
            self.poll.unregister(each.socket)
            if not each.subscribed:
                sys.exit(f"closed before it watched: {each.data[:300]!r}")
            return
        arrived = now
        for _, _, moment in ancillary:
            seconds, rest = MOMENT.unpack(moment)
            arrived = seconds * 1_000_000_000 + rest
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
        rest = 0
        for opcode, start, rest in frames(data):
            if opcode == PING:
                each.socket.send(PONG_FRAME)
            elif opcode == TEXT:
                self.take(watcher, each, data[start:rest], arrived, now)
        each.data = data[rest:]

    def take(self, watcher: int, each: Subscriber, payload: bytes, arrived: int, now: int) -> None:
        if not each.subscribed and self.answer in payload:
            each.subscribed = True
            self.subscribed += 1
        if payload != self.payload:
            self.payload, self.found = payload, self.look(payload)
        number, published = self.found
        self.heard = time.monotonic()
        if number >= self.first:
            self.receipts.add(watcher, number, arrived, now, published)
            self.last[watcher] = number

    def look(self, payload: bytes) -> tuple[int, int]:
        """(The greatest number, the moment at which it was published) of a message; 0 for what it lacks."""
        at = PUBLISHED.search(payload)
        moment = datetime.fromisoformat(at[1].decode()) if at else None
        return (
            max(map(int, self.number.findall(payload)), default=0),
            int(moment.timestamp() * 1e6) * 1000 if moment else 0,
        )

    def run(self) -> dict[str, Any]:
        """Read until the input has told the changes and all have come, or nothing comes any more."""
        self.poll.register(sys.stdin.fileno(), select.EPOLLIN)
        changes: list[Change] = []
        parts, deadline = 0, float("inf")
        while not changes or (
            time.monotonic() < min(deadline, self.heard + QUIET_S) and not self.complete(changes, parts)
        ):
            for number, _ in self.poll.poll(0.2, 512):
                if number in self.by_socket:
                    self.read(*self.by_socket[number])
                elif number == sys.stdin.fileno():
                    told = json.loads(sys.stdin.readline() or sys.exit("the benchmark has ended"))
                    changes, parts = [Change(*each) for each in told["changes"]], told["parts"]
                    self.poll.unregister(number)
                    self.heard = time.monotonic()
                    deadline = self.heard + LONGEST_S
        return {**reckon(changes, self.receipts, self.count, parts), "closed": self.closed}

    def complete(self, changes: list[Change], parts: int) -> bool:
        """Whether there is nothing left to come."""
        if parts:
            return len(self.receipts.number) >= len(changes) * parts * self.count
        if changes[0].watcher is None:
            last = dict.fromkeys(range(self.count), changes[-1].number)
        else:
            last = {change.watcher: change.number for change in changes}
        return all(self.last.get(watcher, 0) >= number for watcher, number in last.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path", help="`{n}` in it and in the words is the number of the watcher, from 1")
    parser.add_argument("count", type=int)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--words", action="append", default=[], help="what each says first")
    parser.add_argument("--answer", required=True, help="it watches when a message holds this")
    parser.add_argument("--number", required=True, help="a regular expression with one group")
    parser.add_argument("--first", type=int, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    load = Load(
        *(options.port, options.path, options.count),
        *(options.words, options.answer, options.number, options.first),
    )
    began = time.monotonic()
    load.open_all()
    print(json.dumps({"join_s": time.monotonic() - began}), flush=True)
    print(json.dumps(load.run()), flush=True)


if __name__ == "__main__":
    main()
