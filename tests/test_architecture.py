"""The house as it is drawn: who may import whom, how long a file may be, what the README tells."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime.conf import rows

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 300

COMMON = {"errors", "conf"}

# What each room of `realtime/` may import of the others, besides what is common to all.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "conf": set(),
    "feeds": set(),
    "sources": {"feeds"},
    "queries": {"feeds"},
    "rpc": {"feeds"},
    "delivery": {"feeds", "rpc"},
    "engine": {"feeds", "sources", "queries"},
    "processes": set(),
    "web": {"feeds", "sources", "queries", "delivery", "rpc"},
    # Headwater's own queries, and the tag that shows any query on a page.
    "live": {"feeds", "sources", "queries"},
    "templatetags": {"feeds", "queries"},
    # These only put the rooms together.
    "models": {"feeds", "sources"},
    "admin": {"feeds", "sources", "admin_forms"},
    "admin_forms": {"feeds", "sources"},
    "apps": {"feeds", "sources", "queries", "delivery", "web"},
    "management": {"feeds", "sources", "queries", "delivery", "engine", "web", "processes"},
}

# Packages with one door each: everything else goes through these files.
DOORS: dict[str, set[str]] = {
    "httpx": {
        "sources/fetch.py",
        "sources/fetch_errors.py",
        "sources/guard.py",
        "delivery/centrifuge/jwks.py",
    },
    "httpx_aiohttp": {"sources/fetch.py"},
    "aiohttp": {"sources/fetch.py", "sources/fetch_errors.py", "sources/guard.py"},
    "daphne": {f"delivery/{name}.py" for name in ("daphne", "daphne_http", "keeping", "serve")},
    "autobahn": {"delivery/daphne.py"},
    "google": {f"delivery/centrifuge/{name}.py" for name in ("schema", "protobuf_codec")},
    "jwt": {f"delivery/centrifuge/{name}.py" for name in ("keys", "page_tokens")},
    "pgtrigger": {"queries/triggers.py"},
    "psycopg": {"queries/listening.py", "queries/limits.py"},
    "twisted": {f"delivery/{name}.py" for name in ("daphne", "handle", "serve")},
}

NO_IO = ("django", "channels", "asyncio", "threading", "socket")
PURE = {f"delivery/{name}.py": NO_IO for name in ("hub", "stream", "fanout", "rows")}
PURE |= {f"queries/{name}.py": NO_IO for name in ("changes", "pace")}
PURE |= {
    f"delivery/centrifuge/{name}.py": NO_IO
    for name in ("protocol", "schema", "codec", "json_codec", "protobuf_codec", "fossil")
}


def modules() -> list[Path]:
    return [path for path in sorted((ROOT / "realtime").rglob("*.py")) if "migrations" not in path.parts]


def imported(path: Path) -> Iterator[str]:
    """Every module that the file names in an import, in functions and for types too, as an absolute name."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join((*base, *(node.module or "").split("."))).strip(".")
            yield from (f"{start}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "realtime").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_between_rooms_point_one_way(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    assert room in ARROWS, f"{room} is a new room: draw its arrows in this test and in docs/architecture.md"
    for name in imported(path):
        first, *rest = name.split(".")
        if first == "project":
            assert room == "management", f"{path.name} imports {name}, which is about the whole"
        if first == "realtime" and rest:
            common = set() if room in COMMON else COMMON
            allowed = ARROWS[room] | {room} | common
            assert rest[0] in allowed, f"{room} imports {name}; it may import {', '.join(sorted(allowed))}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_with_one_door_are_imported_there_alone(path: Path) -> None:
    where = path.relative_to(ROOT / "realtime").as_posix()
    for name in imported(path):
        package = name.split(".")[0]
        assert where in DOORS.get(package, {where}), f"{package} is imported only in {DOORS[package]}"
        assert package not in PURE.get(where, ()), f"{where} is a pure state machine"


def test_no_file_is_two_rooms_in_one() -> None:
    kinds = (".py", ".js", ".css", ".html")
    folders = ("realtime", "project", "deploy", "static", "tests", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in kinds]
    lengths = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in files}
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST}


def test_the_readme_has_every_setting_with_its_default_and_help() -> None:
    head = ["| setting | default | what it is |", "| --- | --- | --- |"]
    settings = [f"| `{name}` | {default and f'`{default}`'} | {text} |" for name, default, text in rows()]
    table = "\n".join([*head, *settings])
    assert f"\n{table}\n\n" in (ROOT / "README.md").read_text(), f"README.md's table must be:\n{table}"
