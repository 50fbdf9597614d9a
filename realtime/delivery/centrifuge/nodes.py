"""Which processes there are, and what each says when it is asked.

Every process tells all others every few seconds how many it serves. Larger questions are asked: each known
process answers in the asker's own group, in portions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from realtime.errors import Unavailable

from .orders import GROUP

if TYPE_CHECKING:
    from .door import Door

TELL_EVERY_S = 3.0
# Three signs of life may be lost.
GONE_AFTER_S = 10.0
ANSWER_WITHIN_S = 3.0
PORTION = 500


class Nodes:
    """Of one loop. `listen` comes before anything is asked."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._broker = door.feeds.broker
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._began = time.monotonic()
        self._others: dict[str, tuple[float, dict[str, Any]]] = {}
        self._tell = asyncio.Event()
        self._has_left = False
        self._asked: dict[str, _Question] = {}
        self._broker.hear("node", self._hear_node)
        self._broker.hear("node left", self._hear_node_left)
        self._broker.hear("ask channels", self._hear_question)
        self._broker.hear("channels", self._hear_answer)
        door.feeds.supervisor.spawn("nodes", self._keep_telling)
        door.feeds.closing.callback(self._leave)

    async def listen(self) -> None:
        """Hear the others from now on, and the answers to this one's questions."""
        await self._broker.join_group(GROUP)
        await self._broker.join_group(group_of_node(self._door.node))

    def known(self) -> list[dict[str, Any]]:
        """Every process with its numbers, this one first."""
        now = time.monotonic()
        self._others = {node: seen for node, seen in self._others.items() if seen[0] > now - GONE_AFTER_S}
        return [self._itself(), *(numbers for _, numbers in self._others.values())]

    async def channels(self, pattern: str) -> dict[str, int]:
        """How many subscriptions each channel has that matches, on all processes. Raises Unavailable.

        pattern   as in a shell (`*`, `?`, `[a-c]`); empty: all
        """
        own = _matching(self._door.attendance.channels(), pattern)
        others = {numbers["uid"] for numbers in self.known()[1:]}
        if not others:
            return own
        if not self._broker.connected:
            raise Unavailable("Other processes cannot be asked now. Try again in a moment.")
        number = secrets.token_hex(8)
        question = self._asked[number] = _Question(others, Counter(own))
        ask = {"kind": "ask channels", "number": number, "from": self._door.node, "pattern": pattern}
        try:
            self._broker.signal(GROUP, ask)
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await question.answered.wait()
        except TimeoutError:
            raise Unavailable("Another process did not answer. Try again in a moment.") from None
        finally:
            del self._asked[number]
        return dict(question.channels)

    def _itself(self) -> dict[str, Any]:
        channels = self._door.attendance.channels()
        return {
            "uid": self._door.node,
            "name": self._name,
            "num_clients": len(self._door.sessions),
            "num_users": self._door.users,
            "num_subs": sum(channels.values()),
            "num_channels": len(channels),
            "uptime": int(time.monotonic() - self._began),
        }

    async def _keep_telling(self) -> None:
        await self.listen()
        while True:
            self._tell.clear()
            if not self._has_left:
                self._broker.signal(GROUP, {"kind": "node", **self._itself()})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TELL_EVERY_S):
                    await self._tell.wait()

    def _leave(self) -> None:
        self._has_left = True  # told again, it would be asked and waited for
        self._broker.signal(GROUP, {"kind": "node left", "uid": self._door.node})

    def _hear_node(self, signal: dict[str, Any]) -> None:
        node = signal["uid"]
        if node == self._door.node:
            return
        if node not in self._others:
            self._tell.set()  # so that a process that just began knows everybody at once
        numbers = {name: value for name, value in signal.items() if name != "kind"}
        self._others[node] = (time.monotonic(), numbers)

    def _hear_node_left(self, signal: dict[str, Any]) -> None:
        self._others.pop(signal["uid"], None)
        for question in self._asked.values():
            question.wait_no_more_for(signal["uid"])

    def _hear_question(self, signal: dict[str, Any]) -> None:
        if signal["from"] == self._door.node:
            return
        found = list(_matching(self._door.attendance.channels(), signal["pattern"]).items())
        answer = {"kind": "channels", "number": signal["number"], "from": self._door.node}
        group = group_of_node(signal["from"])
        for start in range(0, max(len(found), 1), PORTION):
            some = dict(found[start : start + PORTION])
            self._broker.signal(group, answer | {"channels": some, "more": start + PORTION < len(found)})

    def _hear_answer(self, signal: dict[str, Any]) -> None:
        question = self._asked.get(signal["number"])
        if question is not None:
            question.take(signal)


class _Question:
    def __init__(self, missing: set[str], own: Counter[str]) -> None:
        self._missing = missing
        self.channels = own
        self.answered = asyncio.Event()

    def take(self, signal: dict[str, Any]) -> None:
        self.channels.update(signal["channels"])
        if not signal["more"]:
            self.wait_no_more_for(signal["from"])

    def wait_no_more_for(self, node: str) -> None:
        self._missing.discard(node)
        if not self._missing:
            self.answered.set()


def group_of_node(node: str) -> str:
    """The broker's group that one process hears."""
    return f"node.{node}"


def _matching(channels: dict[str, int], pattern: str) -> dict[str, int]:
    if not pattern:
        return channels
    return {name: count for name, count in channels.items() if fnmatchcase(name, pattern)}
