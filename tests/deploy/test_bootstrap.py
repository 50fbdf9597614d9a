"""Setting up: a Python that runs is found, each step is done once, and nothing needs the network again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import bootstrap, debian

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:9"


def find_python(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", ROOT / "deploy" / "find-python"], env=env, capture_output=True, text=True, timeout=30
    )


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_shim_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "python3", "echo 'python3: command not found'; exit 127")
    put(tmp_path, "python3.13", "exit 127")
    put(tmp_path, "python3.12", f'exec {sys.executable} "$@"')
    assert find_python(PATH=str(tmp_path), HOME=str(tmp_path)).stdout == "python3.12\n"


def test_the_machines_own_python3_comes_before_newer_ones(tmp_path: Path) -> None:
    for name in ("python3", "python3.13"):
        put(tmp_path, name, f'exec {sys.executable} "$@"')
    assert find_python(PATH=str(tmp_path), HOME=str(tmp_path)).stdout == "python3\n"


def test_a_python_that_pyenv_keeps_is_found(tmp_path: Path) -> None:
    folder = tmp_path / ".pyenv" / "versions" / "3.13.0" / "bin"
    folder.mkdir(parents=True)
    put(folder, "python3.13", f'exec {sys.executable} "$@"')
    assert find_python(PATH="", HOME=str(tmp_path)).stdout == f"{folder / 'python3.13'}\n"


@pytest.mark.parametrize("env", [{}, {"PYTHON": "/no/such/python"}])
def test_without_a_python_it_says_so_and_fails(tmp_path: Path, env: dict[str, str]) -> None:
    found = find_python(PATH=str(tmp_path), HOME=str(tmp_path), **env)
    assert found.returncode == 1
    assert "3.11" in found.stderr


def test_once_installed_it_asks_no_registry() -> None:
    offline = {
        "PIP_INDEX_URL": NOWHERE,
        "UV_INDEX_URL": NOWHERE,
        "npm_config_registry": NOWHERE,
        "PYTHON": "",
    }
    done = subprocess.run(
        [sys.executable, "-m", "deploy.bootstrap", "--packages-only", "--venv", sys.prefix],
        cwd=ROOT,
        env=os.environ | offline,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_a_step_is_repeated_when_what_it_was_made_from_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    source = tmp_path / "static" / "page.js"
    source.parent.mkdir()
    source.write_text("one")
    stamp = bootstrap.Stamp(tmp_path / "stamp")
    stamp.set(bootstrap.digest("3.11", source.parent))
    assert stamp.holds(bootstrap.digest("3.11", source.parent))
    source.write_text("two")
    assert not stamp.holds(bootstrap.digest("3.11", source.parent))


def test_an_environment_of_another_python_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    put(tmp_path / "bin", "python", "echo 3.9")
    monkeypatch.setenv("PYTHON", sys.executable)
    with pytest.raises(SystemExit, match=r"holds Python 3\.9"):
        bootstrap.make_venv(tmp_path)


def test_where_nothing_may_be_installed_the_command_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "apt-get", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match="apt-get install redis-server"):
        debian.apt_install(["redis-server"], "The tests need it.")
