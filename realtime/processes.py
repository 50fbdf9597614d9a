"""What a long-running process of ours asks of the operating system: room at its start, and a certain end."""

from __future__ import annotations

import gc
import logging
import os
import resource
import threading

logger = logging.getLogger(__name__)

# For all that is left to do when nobody is served any more.
END_LIMIT_S = 7.0


def allow_many_sockets() -> None:
    """Raise this process's limit of open files as far as it may be raised without being root.

    Distributions start programs with 1,024, which is fewer than the watchers or upstreams of a busy one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def end_soon() -> None:
    """Let this process end by itself within `END_LIMIT_S`; otherwise it ends then, with exit code 1.

    For what cannot be stopped from inside: a thread that waits for a database which does not answer. What
    was not committed until then was not acknowledged either.
    """
    last = threading.Timer(END_LIMIT_S, _end_now)
    last.daemon = True
    last.start()


def _end_now() -> None:
    logger.error("process_did_not_end after_s=%g", END_LIMIT_S)
    os._exit(1)


def collect_seldom() -> None:
    """Look for cyclic garbage seldom, and never again in what is loaded by now.

    Serving makes many objects and hardly a cycle: with Python's own thresholds the collector walks over every
    connection again and again. Call it when everything is imported.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)
