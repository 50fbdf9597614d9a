"""Proves the cluster: `python -m deploy.prove` starts `docker-compose.yml` under another name and breaks it.

WebSockets and event streams watch through nginx while a program publishes. The web processes are restarted
one after the other, and everybody must be back within 5 s; then one is killed and Redis is restarted.
Everybody must have had every publication exactly once and in order.

Own volumes, own secrets, own port; all of it is removed at the end. Needs Docker with Compose.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from deploy.watching import Publisher, Watcher

ROOT = Path(__file__).resolve().parent.parent
SUBNET = "172.30.79"
WATCHERS = 5
BACK_WITHIN_S = 5.0


class Stack:
    """The compose project under the name `headwater-proof`."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        settings = {
            "POSTGRES_PASSWORD": secrets.token_hex(24),
            "HEADWATER_SECRET_KEY": secrets.token_hex(32),
            "HEADWATER_FIELD_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "HEADWATER_ALLOWED_HOSTS": "localhost,127.0.0.1,nginx",
            "HEADWATER_ALLOWED_NETWORKS": f"{SUBNET}.10/32:80",
            "HEADWATER_SUBNET": SUBNET,
            "HEADWATER_ENV_FILE": str(folder / "env"),
            "HTTP_PORT": str(port),
        }
        (folder / "env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        program = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
        self._compose = [*program, "--env-file", str(folder / "env"), "-p", "headwater-proof"]

    def __call__(self, *args: str) -> str:
        """Run one compose command; its standard output."""
        done = subprocess.run([*self._compose, *args], cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"compose {' '.join(args)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def manage(self, *args: str) -> str:
        return self("exec", "-T", "engine", "python", "manage.py", *args).strip()


def told(text: str) -> None:
    print(text, flush=True)


async def until(ready: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    """Return when it is so; TimeoutError naming it when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        await asyncio.sleep(0.1)


def check_pages(url: str) -> None:
    """The page, its static files, what is stripped, what is refused, all through nginx."""
    with httpx.Client(base_url=url, timeout=10) as client:
        page = client.get("/")
        assert page.status_code == 200, page.text[:500]
        assert "counter" in page.text, "the board does not show the feed"
        style = re.search(r'href="(/static/[^"]+\.css)"', page.text)
        assert style is not None, "the page names no style sheet"
        sheet = client.get(style.group(1))
        assert sheet.status_code == 200
        assert "immutable" in sheet.headers["cache-control"], dict(sheet.headers)
        forged = {"Daphne-Root-Path": "/forged", "X-Forwarded-Host": "forged.example"}
        assert "forged" not in client.get("/feeds/counter/", headers=forged).text, (
            "a forged header had effect"
        )
        large = client.post("/api/feeds/counter/publish", content=b"x" * (2 * 1024 * 1024 + 1))
        assert large.status_code == 413, large.status_code
        assert large.json()["error"]["code"] == "too_large"
    told("page, style sheet from nginx, forged headers without effect, a body of 2 MiB + 1 refused")


def check_polling(stack: Stack) -> Callable[[], bool]:
    """Whether the engine has polled, through nginx too, and what it found reached another feed."""
    stack.manage(
        "add_source", "mirror", "http://nginx/api/feeds/counter", "--every=1", "--extract=data", "--public"
    )

    def moved() -> bool:
        try:
            mirror = httpx.get(f"{stack.url}/api/feeds/mirror", timeout=5)
        except httpx.HTTPError:
            return False
        return mirror.status_code == 200 and mirror.json()["offset"] >= 3

    return moved


async def breaking(stack: Stack, publisher: Publisher, watchers: list[Watcher]) -> None:
    """Break one thing after the other, with the publisher going on in between."""

    async def some_more(count: int = 60) -> None:
        goal = publisher.published + count
        await until(lambda: publisher.published >= goal, f"{count} more publications")

    async def do(what: str, *command: str) -> None:
        before = time.monotonic()
        await asyncio.to_thread(stack, *command)
        told(f"{what} ({time.monotonic() - before:.1f} s), {publisher.published} published so far")
        await some_more()

    await some_more()
    for name in ("web1", "web2"):
        await do(f"stopped {name}", "stop", name)
        ended = stack("ps", "-a", name)
        assert re.search(r"Exit(ed)? \(?0\b", ended), f"{name} did not end in order:\n{ended}"
        await do(f"started {name}", "start", name)
        await until(lambda name=name: "(healthy)" in stack("ps", name), f"{name} is healthy")  # type: ignore[misc]
    longest_s = max(watcher.longest_absence_s for watcher in watchers)
    told(f"both web processes restarted; every client was back within {longest_s:.2f} s")
    assert longest_s < BACK_WITHIN_S
    await do("killed web2", "kill", "-s", "KILL", "web2")
    await do("started web2", "start", "web2")
    await until(lambda: "(healthy)" in stack("ps", "web2"), "web2 is healthy")
    await do("restarted redis", "restart", "redis")
    await some_more(100)


def verdict(watchers: list[Watcher], publisher: Publisher) -> None:
    """AssertionError unless everybody got everything once and in order."""
    expected = [(number, number) for number in range(1, publisher.published + 1)]
    told(f"\n{publisher.published} publications, {publisher.retries} tries repeated")
    for kind in ("WebSocket", "stream"):
        group = [watcher for watcher in watchers if watcher.kind == kind]
        exact = sum(watcher.got == expected for watcher in group)
        told(
            f"{exact} of {len(group)} {kind} clients got each exactly once, in order; "
            f"connections {[watcher.connections for watcher in group]}, "
            f"longest absence {max(watcher.longest_absence_s for watcher in group):.2f} s, "
            f"longest silence {max(watcher.longest_silence_s for watcher in group):.2f} s"
        )
    for watcher in watchers:
        assert watcher.got == expected, f"a {watcher.kind} client got {watcher.got}"
        assert watcher.resets == 0


async def prove(stack: Stack) -> None:
    stack.manage("add_feed", "counter", "--public")
    token = stack.manage("create_token", "proof", "--scope=publish").splitlines()[-1]
    check_pages(stack.url)
    watchers = [Watcher(kind, stack.url) for kind in ("WebSocket", "stream") for _ in range(WATCHERS)]
    publisher = Publisher(stack.url, token)
    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(watcher.run()) for watcher in watchers]
        await until(lambda: all(watcher.ready for watcher in watchers), "every client watches")
        publishing = group.create_task(publisher.run())
        polled = check_polling(stack)
        await breaking(stack, publisher, watchers)
        await until(polled, "the engine polls and the polled feed moves")
        await until(lambda: "(healthy)" in stack("ps", "engine"), "the engine is healthy")
        told("the engine polls, is healthy, and the feed that it fills moves")
        publisher.stopping = True
        await publishing
        everything = publisher.published
        await until(lambda: all(len(watcher.got) >= everything for watcher in watchers), "all have all", 20)
        for task in watching:
            task.cancel()
    verdict(watchers, publisher)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="headwater-proof-"))
    stack = Stack(folder)
    before = time.monotonic()
    try:
        stack("up", "-d")
        asyncio.run(until(lambda: answers(stack.url), "nginx answers"))
        told(f"up after {time.monotonic() - before:.0f} s: {stack.url}")
        asyncio.run(prove(stack))
    except BaseException:
        told(stack("logs", "--tail=60"))
        raise
    finally:
        stack("down", "-v", "--timeout", "5")
        shutil.rmtree(folder)
    told(f"Proved in {time.monotonic() - before:.0f} s.")


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    main()
