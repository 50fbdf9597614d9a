"""What a long-running process of ours asks of the operating system before it starts."""

from __future__ import annotations

import resource


def allow_many_sockets() -> None:
    """Raise this process's limit of open files as far as it may be raised without being root.

    Distributions start programs with 1,024, which is fewer than the watchers or upstreams of a busy one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
