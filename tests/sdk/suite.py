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
from pathlib import Path

from tests.serving import TRACEBACK, Server, Template, environment

SDK = "centrifuge-python==0.7.0"
TESTS = "tests.test_client"
WARMING = f"{TESTS}.TestPubSub"
PORT = 8000
TIMEOUT_S = 120
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


def run(sources: Path, env: dict[str, str], tests: str) -> tuple[str, bool]:
    """Run these tests; what they printed, and whether they came to an end."""
    log = sources.parent / "log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "unittest", "-v", tests]
        process = subprocess.Popen(command, cwd=sources, env=env, stdout=output, stderr=output)
        try:
            process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return log.read_text(), False
        finally:
            process.kill()
            process.wait()
    return log.read_text(), True


def verdict(output: str, *, ended: bool) -> tuple[str, bool]:
    """One line about the run, and whether all is well.

    The end of unittest's output is `Ran 62 tests in 9.8s` and `OK` or `FAILED (failures=1, errors=2)`.
    """
    begun = re.findall(r"^(test_\w+) \(\S+\)", output, re.M)
    ran = re.search(r"^Ran (\d+) tests? in ", output, re.M)
    if not ended or ran is None:
        last = begun[-1] if begun else "the first test"
        return f"no end within {TIMEOUT_S} s: {last} hangs, after {len(begun) - 1} others", False
    failed = len(set(re.findall(r"^(?:FAIL|ERROR): (\w+ \([\w.]+\))", output, re.M)))
    count = int(ran[1])
    return f"{count - failed} of {count} passed", count > 0 and output.rstrip().endswith("OK")


def complaints(output: str) -> str:
    """What unittest tells about failures at its end, without the logs before it; else the end of the logs."""
    start = output.find("=" * 70)
    return output[start:] if start >= 0 else output[-8000:]


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
            env = environment(folder / "data")
            # A server's first answers take longer, and some of the tests go on without waiting for theirs.
            run(sources, env, WARMING)
            output, ended = run(sources, env, TESTS)
        finally:
            server.kill()
        line, passed = verdict(output, ended=ended)
        if TRACEBACK in server.output:
            line, passed = f"{line}, but the server printed a traceback", False
        if not passed:
            sys.stdout.write(f"{complaints(output)}\n{server.output}\n")
        sys.stdout.write(f"{SDK} {TESTS}: {line}\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
