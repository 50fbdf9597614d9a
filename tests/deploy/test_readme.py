"""The README's lines work as they stand, but for the address."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.delivery.served import furnish
from tests.programs import find_program
from tests.serving import Server

ROOT = Path(__file__).resolve().parents[2]


def block(language: str, holding: str) -> str:
    """The README's block of code in `language` that has `holding` in it."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    found: str = next(text for text in blocks if holding in text)
    return found


def at(server: Server, text: str) -> str:
    """The lines as they are typed, for this server and this Python."""
    return text.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}").replace(
        ".venv/bin/python", sys.executable
    )


def sh(server: Server, text: str) -> str:
    find_program("curl")
    done = subprocess.run(
        ["sh", "-ec", at(server, text)], cwd=ROOT, env=server.env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_push_feed_is_made_and_published_to_and_read_by_curl(server: Server) -> None:
    answer = sh(server, block("sh", "add_feed doorbell")).splitlines()[-1]
    assert json.loads(answer)["offset"] == 1
    value = json.loads(sh(server, "curl -s http://127.0.0.1:8000/api/feeds/doorbell"))
    assert value["data"] == {"rang": True, "times": 1}


def test_the_python_lines_print_the_current_value(server: Server) -> None:
    furnish(server, "machine-cpu")
    watching = subprocess.Popen(
        [sys.executable, "-u", "-c", at(server, block("python", "websockets"))],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watching.stdout is not None
        assert "'snapshot'" in watching.stdout.readline()
    finally:
        watching.kill()
        watching.communicate()


def test_the_event_stream_line_prints_the_current_value(server: Server) -> None:
    furnish(server, "machine-cpu")
    curl, *options = at(server, block("sh", "curl -N")).split()
    watching = subprocess.Popen([find_program(curl), *options, "-s"], stdout=subprocess.PIPE, text=True)
    try:
        assert watching.stdout is not None
        assert next(text for text in watching.stdout if text.startswith("data:")).startswith(
            'data: {"type":"snapshot"'
        )
    finally:
        watching.kill()
        watching.communicate()
