"""The programs that tests need besides Python packages: found on this machine, or installed.

    python -m tests.programs        installs what is missing (`make test` does this first)

Nothing is skipped for want of a program: a test that misses one fails, and says what to install.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from deploy.debian import apt_install

# Debian's package, and the programs it brings, under any of the names that systems give them.
PACKAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "redis-server": (("redis-server",),),
    "postgresql": (("initdb",), ("postgres",)),
    "nginx": (("nginx",),),
    "chromium": (("chromium", "chromium-browser", "google-chrome"),),
    "curl": (("curl",),),
    "util-linux": (("setpriv",),),
}


class MissingProgram(RuntimeError):
    """A program that the tests need is not on this machine; the message says how to get it."""


def find_program(name: str) -> str:
    """The path of one of the programs in PACKAGES, by its first name; MissingProgram if it is not here.

    Debian keeps PostgreSQL's server programs off PATH, one folder for each version; the newest is taken.
    """
    package, names = next(
        (package, names) for package, programs in PACKAGES.items() for names in programs if names[0] == name
    )
    folders = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    for folder in sorted(folders, key=lambda path: int(path.parent.name), reverse=True):
        if (folder / name).exists():
            return str(folder / name)
    # Debian has nginx where only root's PATH leads.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    for other in names:
        if found := shutil.which(other, path=path):
            return found
    raise MissingProgram(f"{name} is not on this machine. Install it: apt-get install {package}")


def missing_packages() -> list[str]:
    """Debian's packages for what is not here."""
    missing = []
    for package, programs in PACKAGES.items():
        try:
            for names in programs:
                find_program(names[0])
        except MissingProgram:
            missing.append(package)
    return missing


if __name__ == "__main__":
    if packages := missing_packages():
        apt_install(packages, "The tests need programs that are not on this machine.")
