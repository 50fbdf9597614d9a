"""Whether this process lives (`/healthz`), and whether it can do its work now (`/readyz`). For probes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from channels.layers import get_channel_layer
from django.http import HttpRequest, JsonResponse
from django.utils import timezone

from realtime.errors import HeadwaterError
from realtime.feeds.publication import timestamp
from realtime.feeds.runtime import Feeds
from realtime.sources.models import EngineSeen

logger = logging.getLogger(__name__)

T = TypeVar("T")

CHECK_TIMEOUT_S = 2.0
ENGINE_SEEN_WITHIN_S = 30.0
NEVER_CACHED = {"Cache-Control": "no-store"}


async def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as the loop answers. Says nothing about what it depends on: restarting would not help."""
    return JsonResponse({"ok": True}, headers=NEVER_CACHED)


async def readyz(request: HttpRequest) -> JsonResponse:
    """200 if this process stays and all that it needs answers, else 503; within about two seconds.

    `{"ok", "checks": {"server" | "database" | "layer" | "engine": {"ok", "problem"}}}`; an engine must have
    been seen in the last 30 s.
    """
    database, layer = await asyncio.gather(_bounded(_last_seen()), _bounded(_layer_answers()))
    seen_at, database_problem = database
    checks = {
        "server": _check(_server_problem(request)),
        "database": _check(database_problem),
        "layer": _check(layer[1]),
        "engine": _check(database_problem or _engine_problem(seen_at)),
    }
    ok = all(check["ok"] for check in checks.values())
    return JsonResponse({"ok": ok, "checks": checks}, status=200 if ok else 503, headers=NEVER_CACHED)


async def _last_seen() -> datetime | None:
    """The newest sign of life of any engine, and by the way a sign of the database's."""
    newest = EngineSeen.objects.order_by("-seen_at").values_list("seen_at", flat=True)
    return await Feeds.current().database.read(newest.first)


async def _layer_answers() -> None:
    layer = get_channel_layer()
    if layer is None:
        raise ConnectionError("no channel layer")
    # To a group of nobody: the layer takes part, and nobody hears it.
    await layer.group_send("feed.0", {"type": "feed.nothing"})


async def _bounded(check: Awaitable[T]) -> tuple[T | None, str]:
    """What the check found, and what is wrong ("" if nothing): at most two seconds for either."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check, ""
    except TimeoutError:
        return None, f"No answer within {CHECK_TIMEOUT_S:g} s."
    except HeadwaterError as error:
        return None, error.message
    except Exception as error:
        # Whatever a driver raises: the probe is to say so, not to fail itself.
        logger.warning("not_ready %s", type(error).__name__)
        return None, f"Does not answer ({type(error).__name__})."


def _server_problem(request: HttpRequest) -> str:
    scope: dict[str, Any] = getattr(request, "scope", {})
    draining = "headwater.draining" in scope.get("extensions", {})
    return "This process is going down and takes no new sockets and streams." if draining else ""


def _engine_problem(seen_at: datetime | None) -> str:
    if seen_at is None:
        return "No engine was ever seen: start `manage.py serve` or `manage.py engine`."
    if timezone.now() - seen_at > timedelta(seconds=ENGINE_SEEN_WITHIN_S):
        return f"The last engine was seen at {timestamp(seen_at)}."
    return ""


def _check(problem: str) -> dict[str, bool | str]:
    return {"ok": not problem, "problem": problem}
