"""The Python SDK's own tests against a running server: `make sdk-suite`, or `python -m tests.sdk.suite`.

They come from the SDK's source distribution on PyPI, into a folder that is gone afterwards, and expect their
server at `localhost:8000` with the settings below.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.serving import TRACEBACK, Server, Template, environment

SDK = "centrifuge-python==0.7.0"
MODULE = "tests.test_client"
PORT = 8000
TIMEOUT_S = 30  # of one class of tests
# It disconnects without waiting for the answer to its subscription, and fails where a busy machine gives that
# later than the one to another client's connect.
RACING = "TestAutoRecovery"
SETTINGS = {
    "HEADWATER_TOKEN_SECRET": "secret",
    "HEADWATER_ANONYMOUS": "false",
    "HEADWATER_PERSONAL_CHANNELS": "true",
    "HEADWATER_NAMESPACES": json.dumps(
        {
            "": {
                "publish": "subscribers",
                "presence": True,
                "join_leave": "forced",
                "history": True,
                "history_size": 100,
                "history_age_s": 300,
                "recovery": "forced",
            },
            "smallhistory": {
                "publish": "subscribers",
                "history": True,
                "history_size": 2,
                "history_age_s": 300,
                "recovery": "forced",
            },
        }
    ),
}


def taken() -> str:
    """The address of `localhost` at which somebody listens on the port already; empty when nobody does."""
    for family, kind, _, _, address in socket.getaddrinfo("localhost", PORT, type=socket.SOCK_STREAM):
        with socket.socket(family, kind) as probe:
            probe.settimeout(2)
            if probe.connect_ex(address) == 0:
                return str(address[0])
    return ""


def download(folder: Path) -> Path:
    """The unpacked source distribution. Exits with what pip said where it cannot be had."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-binary", "centrifuge-python", "--dest", str(folder), SDK),
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(f"{SDK} could not be downloaded from PyPI. Is there a network?\n{done.stderr[-2000:]}")
    archive = next(folder.glob("*.tar.gz"))
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@dataclass(frozen=True)
class Outcome:
    """One class of tests: how many there were, how many of them failed, and what they printed."""

    name: str
    count: int
    failed: int
    output: str


def run(sources: Path, env: dict[str, str], name: str) -> Outcome:
    """Run one class of tests. One that hangs counts as failed.

    The end of unittest's output is `Ran 5 tests in 0.8s` and `OK` or `FAILED (failures=1, errors=2)`.
    """
    log = sources.parent / "log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "unittest", f"{MODULE}.{name}"]
        process = subprocess.Popen(command, cwd=sources, env=env, stdout=output, stderr=output)
        try:
            process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            output.write(f"\n{'=' * 70}\n{name} hangs: no end within {TIMEOUT_S} s\n")
        finally:
            process.kill()
            process.wait()
    said = log.read_text()
    ran = re.search(r"^Ran (\d+) tests? in ", said, re.M)
    failed = set(re.findall(r"^(?:FAIL|ERROR): (\w+ \([\w.]+\))", said, re.M))
    if ran is None or bool(failed) == said.rstrip().endswith("OK"):
        return Outcome(name, 1, 1, said)
    return Outcome(name, int(ran[1]), len(failed), said)


def run_all(sources: Path, env: dict[str, str]) -> list[Outcome]:
    """Run every class of the module; the one that is a race of its own once more if it fails."""
    names = re.findall(r"^class (Test\w+)", (sources / f"{MODULE.replace('.', '/')}.py").read_text(), re.M)
    outcomes = []
    for name in names:
        outcome = run(sources, env, name)
        if outcome.failed and name == RACING:
            sys.stdout.write(f"{outcome.output[-3000:]}\n{name} failed, and is run once more.\n")
            outcome = run(sources, env, name)
        outcomes.append(outcome)
    return outcomes


def main() -> int:
    if address := taken():
        sys.exit(f"The SDK's tests want {address}:{PORT}, where another server listens: end that one first.")
    with tempfile.TemporaryDirectory(prefix="headwater-sdk-") as name:
        folder = Path(name)
        sources = download(folder)
        template = Template(folder / "template")
        database = template.copy(folder / "data")
        server = Server(
            folder / "data",
            environment(folder / "data", PORT=str(PORT), **SETTINGS, **database),
            ("--no-engine",),
        )
        try:
            server.start()
            outcomes = run_all(sources, environment(folder / "data"))
        finally:
            server.kill()
        for each in outcomes:
            if each.failed:
                sys.stdout.write(each.output[each.output.find("=" * 70) :])
        count, failed = sum(each.count for each in outcomes), sum(each.failed for each in outcomes)
        broken = TRACEBACK in server.output
        if broken:
            sys.stdout.write(f"The server printed a traceback:\n{server.output}\n")
        sys.stdout.write(f"{SDK} {MODULE}: {count - failed} of {count} passed\n")
    return 1 if failed or broken or not count else 0


if __name__ == "__main__":
    sys.exit(main())
