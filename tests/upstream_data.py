"""Real recorded data, one row further at each request: earthquakes, Seattle's weather and stock prices."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from vega_datasets import local_data

WINDOW = 20


@cache
def earthquakes() -> dict[str, Any]:
    """The recorded feed, its features oldest first."""
    loaded: dict[str, Any] = json.loads(
        (Path(__file__).parent / "data" / "earthquakes.geojson").read_text(encoding="utf-8")
    )
    return loaded


@cache
def lines(name: str) -> list[str]:
    """The lines of a recorded CSV file, its header first."""
    return Path(getattr(local_data, name).filepath).read_text(encoding="utf-8").splitlines()


def quakes_at(step: int) -> bytes:
    """GeoJSON as the USGS serves it: the newest earthquake first, one more at each step, at most WINDOW."""
    recorded = earthquakes()
    newest = step % len(recorded["features"])
    shown = recorded["features"][max(0, newest + 1 - WINDOW) : newest + 1][::-1]
    metadata = recorded["metadata"] | {
        "generated": shown[0]["properties"]["time"],
        "count": len(shown),
    }
    return json.dumps(recorded | {"metadata": metadata, "features": shown}).encode()


def csv_at(name: str, step: int) -> bytes:
    """The header and the rows up to this step, at most WINDOW of them."""
    header, *rows = lines(name)
    newest = step % len(rows)
    return "\r\n".join([header, *rows[max(0, newest + 1 - WINDOW) : newest + 1], ""]).encode()


def price_at(step: int) -> bytes:
    """One stock price as a JSON object."""
    header, *rows = lines("stocks")
    row = dict(zip(header.split(","), rows[step % len(rows)].split(","), strict=True))
    return json.dumps(row | {"price": float(row["price"])}).encode()
