"""What only the system's package manager can bring: installed by apt-get as root or through sudo.

Asks nothing. Where it may not or cannot install, it ends the program with the command that would.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys


def apt_install(packages: list[str], why: str) -> None:
    """Install `packages`; SystemExit with the command to run by hand where that is not possible."""
    by_hand = f"apt-get install {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        sys.exit(f"{why} Install it with this system's package manager; on Debian: {by_hand}")
    prefix: list[str] = []
    if os.geteuid() != 0:
        may = shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True)
        if not may or may.returncode != 0:
            sys.exit(f"{why} Run this as root, then start again: {by_hand}")
        prefix = ["sudo", "-n"]
    print(f"{why} Installing {', '.join(packages)} …", flush=True)
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
    install = [*apt, "install", "--no-install-recommends", *packages]
    if subprocess.run(install, stdout=subprocess.DEVNULL).returncode == 0:
        return
    # A machine that is new has no package lists, and old lists name versions that are gone.
    subprocess.run([*apt, "update"], stdout=subprocess.DEVNULL)
    if subprocess.run(install, stdout=subprocess.DEVNULL).returncode != 0:
        sys.exit(f"{why} This did not work: {by_hand}")
