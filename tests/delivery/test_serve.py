"""`manage.py serve` as a process: its start, and what it refuses before Django sees it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx

from realtime.conf import conf
from tests.conftest import MakeServer
from tests.delivery.served import furnish, publish
from tests.serving import ROOT, Server


def _talk(server: Server, *parts: bytes) -> bytes:
    """Send these bytes and read until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                break
        answer = b""
        while True:
            try:
                received = connection.recv(65536)
            except ConnectionResetError:
                return answer
            if not received:
                return answer
            answer += received


def test_a_port_that_is_taken_is_told_in_one_line(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "serve", "--no-engine"],
        cwd=ROOT,
        env=server.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{server.port}" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_database_that_was_not_migrated_is_told_in_one_line(serve: MakeServer) -> None:
    server = serve("--no-engine", start=False)
    (server.data_dir / "headwater.sqlite3").unlink()
    done = subprocess.run(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env=server.env | {"DATABASE_URL": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "manage.py migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_body_over_the_limit_is_refused_while_it_comes(server: Server) -> None:
    limit = conf().body_limit_bytes
    head = b"POST /api/feeds/x/publish HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with ThreadPoolExecutor() as threads:  # both at once: the server takes two seconds to close
        declared = threads.submit(_talk, server, head + b"Content-Length: %d\r\n\r\n" % (limit + 1))
        endless = threads.submit(_talk, server, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 50)
    for answer in (declared.result(), endless.result()):
        assert answer.startswith(b"HTTP/1.1 413 ")
        content = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert content["error"]["code"] == "too_large"
    small = _talk(server, head + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello")
    assert not small.startswith(b"HTTP/1.1 413 ")
    assert small.startswith(b"HTTP/1.1 4")


def test_a_client_cannot_move_the_site_by_a_header(server: Server) -> None:
    moved = httpx.get(server.url + "/admin/", headers={"Daphne-Root-Path": "/evil"}, trust_env=False)
    assert moved.headers["server"] == "headwater"
    assert moved.headers["location"].startswith("/admin/")


def test_tail_prints_each_message_as_a_line_and_ends_quietly(server: Server) -> None:
    token = furnish(server, "count")
    since = publish(server, token, "count", 1)
    publish(server, token, "count", 2)
    tail = subprocess.Popen(
        [sys.executable, "manage.py", "tail", "count", "--since", f"{since['epoch']}:{since['offset']}"],
        cwd=ROOT,
        env=server.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert tail.stdout is not None
        assert tail.stderr is not None
        first = tail.stdout.readline()
        assert first, tail.stderr.read()
        assert json.loads(first)["data"] == 2
        assert json.loads(tail.stdout.readline())["type"] == "status"
        publish(server, token, "count", 3)
        assert json.loads(tail.stdout.readline())["data"] == 3
        os.kill(tail.pid, signal.SIGINT)
        _, errors = tail.communicate(timeout=30)
        assert (tail.returncode, errors) == (0, b"")
    finally:
        tail.kill()
        tail.communicate()
