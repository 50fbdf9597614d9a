"""Exits 0 when this container's process is well, for health checks: `python -m deploy.healthy web|engine`.

A web process answers; an engine left its sign of life in the database lately. No Django, so that a check
every few seconds costs little.
"""

from __future__ import annotations

import os
import socket
import sys
import urllib.request

import psycopg

SEEN_WITHIN_S = 30


def web() -> str:
    """What is wrong with the web process; empty when it answers."""
    url = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}/healthz"
    try:
        with urllib.request.urlopen(url, timeout=4) as answer:
            return "" if answer.status == 200 else f"{url} answers {answer.status}"
    except OSError as error:
        return f"{url}: {error}"


def engine() -> str:
    """What is wrong with the engine on this host; empty when it was seen."""
    query = (
        "SELECT 1 FROM realtime_engineseen WHERE starts_with(name, %s)"
        " AND seen_at > now() - make_interval(secs => %s)"
    )
    try:
        with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=4) as connection:
            seen = connection.execute(query, (f"{socket.gethostname()[:40]}:", SEEN_WITHIN_S)).fetchone()
    except psycopg.Error as error:
        return f"The database does not answer: {error}"
    return "" if seen else f"The engine was not seen in the last {SEEN_WITHIN_S} s."


if __name__ == "__main__":
    sys.exit({"web": web, "engine": engine}[sys.argv[1]]() or 0)
