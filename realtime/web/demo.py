"""The demo's upstream: this machine's own CPU, memory and load, as JSON that Headwater polls over HTTP.

Answers only to this machine: how busy it is, is nobody else's business.
"""

from __future__ import annotations

import os
from ipaddress import ip_address

import psutil
from django.http import Http404, HttpRequest, JsonResponse

psutil.cpu_percent(interval=None)  # the first call only begins to measure


async def machine(request: HttpRequest) -> JsonResponse:
    """`cpu_percent` since the last time it was asked, memory and load. Reads /proc; never waits."""
    if not _is_local(request):
        raise Http404
    memory = psutil.virtual_memory()
    load_1m, load_5m, load_15m = psutil.getloadavg()
    answer = {
        "cpu_percent": psutil.cpu_percent(interval=None),
        "cpu_count": os.cpu_count(),
        "memory_percent": memory.percent,
        "memory_used_mb": round(memory.used / 1_000_000),
        "load_1m": round(load_1m, 2),
        "load_5m": round(load_5m, 2),
        "load_15m": round(load_15m, 2),
    }
    return JsonResponse(answer, headers={"Cache-Control": "no-store"})


def _is_local(request: HttpRequest) -> bool:
    """Asked from this machine, and not on behalf of somebody else by a proxy that runs on it."""
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
