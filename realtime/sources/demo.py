"""The demo: sources that show something on the board at the first start, without an account anywhere.

This machine's own figures, polled over HTTP from Headwater itself, so that something moves offline too,
and public APIs that need no key. Without internet those fail, visibly, and recover by themselves.
"""

from __future__ import annotations

from django.db import transaction

from .catalog import amend_source, create_source
from .draft import FeedDraft, SourceDraft
from .models import Source

MACHINE = "this-machine"
MACHINE_PATH = "/demo/machine"

PUBLIC_SOURCES = (
    SourceDraft(
        slug="usgs-earthquakes",
        title="Earthquakes (USGS)",
        url="https://earthquake.usgs.gov/earthquakes/feed/v1.0/summary/all_hour.geojson",
        interval_s=60,
        feeds=(
            FeedDraft("earthquakes-last-hour", "Earthquakes, last hour", "metadata.count", public=True),
            # An hour without earthquakes is an empty list, which is good news and no failure.
            FeedDraft(
                "earthquake-latest-magnitude",
                "Latest earthquake, magnitude",
                "features[0].properties.mag || `0`",
                public=True,
            ),
            FeedDraft(
                "earthquake-latest-place",
                "Latest earthquake, place",
                "features[0].properties.place || 'none in the last hour'",
                public=True,
            ),
        ),
    ),
    SourceDraft(
        slug="open-meteo-berlin",
        title="Weather in Berlin (Open-Meteo)",
        url="https://api.open-meteo.com/v1/forecast"
        "?latitude=52.52&longitude=13.41&current=temperature_2m,wind_speed_10m",
        interval_s=300,
        feeds=(
            FeedDraft("berlin-temperature", "Berlin, °C", "current.temperature_2m", public=True),
            FeedDraft("berlin-wind", "Berlin, wind in km/h", "current.wind_speed_10m", public=True),
        ),
    ),
    SourceDraft(
        slug="github",
        title="GitHub status",
        url="https://www.githubstatus.com/api/v2/summary.json",
        interval_s=60,
        feeds=(
            FeedDraft("github-status", "GitHub", "status.description", public=True),
            FeedDraft("github-incidents", "GitHub, open incidents", "length(incidents)", public=True),
        ),
    ),
    SourceDraft(
        slug="coinbase-btc-usd",
        title="Bitcoin (Coinbase)",
        url="https://api.coinbase.com/v2/prices/BTC-USD/spot",
        interval_s=15,
        feeds=(FeedDraft("btc-usd", "Bitcoin in US dollars", "to_number(data.amount)", public=True),),
    ),
)


def machine_url(port: int) -> str:
    """Where a Headwater that listens on `port` tells its own machine's figures."""
    return f"http://127.0.0.1:{port}{MACHINE_PATH}"


def create_demo(port: int) -> None:
    """Make all the demo's sources and their feeds, or none of them."""
    machine = SourceDraft(
        slug=MACHINE,
        title="This machine",
        url=machine_url(port),
        interval_s=2,
        timeout_s=2,
        feeds=(
            FeedDraft("machine-cpu", "CPU in percent", "cpu_percent", public=True),
            FeedDraft("machine-memory", "Memory in percent", "memory_percent", public=True),
            FeedDraft("machine-load", "Load, one minute", "load_1m", public=True),
        ),
    )
    with transaction.atomic():
        for draft in (machine, *PUBLIC_SOURCES):
            create_source(draft)


def follow_port(port: int) -> None:
    """Point the machine's source at `port`, if it is still there and still the demo's."""
    source = Source.objects.filter(
        slug=MACHINE, url__regex=rf"^http://127\.0\.0\.1:\d+{MACHINE_PATH}$"
    ).first()
    if source is not None and source.url != machine_url(port):
        amend_source(MACHINE, {"url": machine_url(port)})
