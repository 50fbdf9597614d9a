"""Exits 0 when the web process in this container answers: `python -m deploy.healthy`, for health checks."""

from __future__ import annotations

import os
import sys
import urllib.request

if __name__ == "__main__":
    # By this machine's own name for itself, which the site must answer to whatever else it is called.
    url = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}/healthz"
    try:
        with urllib.request.urlopen(url, timeout=4) as answer:
            sys.exit(answer.status != 200)
    except OSError as error:
        sys.exit(f"{url}: {error}")
