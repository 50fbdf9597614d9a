"""One engine's evaluator on a real database, and what came of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from docs.examples.orders.models import Customer, Order
from realtime.feeds.demand import ENGINES, WANTED_SIGNAL
from realtime.feeds.journal import history
from realtime.feeds.models import Demand, Feed
from realtime.feeds.runtime import Feeds, signal_now
from realtime.feeds.supervision import Supervisor
from realtime.queries import evaluator as module
from realtime.queries.evaluator import Evaluator
from tests.services import wait_until

NEVER_S = 3_600.0
PATIENCE_S = 100.0


@asynccontextmanager
async def evaluating(
    feeds: Feeds, name: str = "one", *, quick_s: float = NEVER_S, **settings: Any
) -> AsyncIterator[Evaluator]:
    """An engine's evaluator, by itself, with these settings.

    However slow this machine is, nothing but a change has it evaluate again, and no query is too slow, unless
    the test says so.
    """
    patient = {"query_recheck_s": NEVER_S, "query_limit_s": PATIENCE_S}
    changed = module.conf().model_copy(update=patient | settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "conf", lambda: changed)
        patch.setattr(module, "QUICK_S", quick_s)
        patch.setattr(module, "HEARING_PATIENCE_S", NEVER_S)
        supervisor = Supervisor()
        evaluator = Evaluator(feeds, name=name)
        supervisor.spawn("live queries", evaluator.run)
        try:
            yield evaluator
        finally:
            await supervisor.aclose()
            await evaluator.aclose()


def want(name: str, *, for_s: float = 3600) -> int:
    """Somebody watches this query; its feed's id."""
    feed, _ = Feed.objects.get_or_create(slug=name, defaults={"title": name, "kind": Feed.Kind.QUERY})
    until = timezone.now() + timedelta(seconds=for_s)
    base = name.partition("#")[0]
    Demand.objects.update_or_create(feed=feed, defaults={"base": base, "wanted_until": until})
    signal_now(ENGINES, {"kind": WANTED_SIGNAL})
    return int(feed.pk)


def customer(name: str = "Ana") -> int:
    return int(Customer.objects.create(name=name).pk)


def order(of: int, total: int = 1) -> int:
    return int(Order.objects.create(customer_id=of, total=total).pk)


def values(feed_id: int) -> list[Any]:
    """All that was published, in order."""
    return [json.loads(each.data) for each in history(feed_id, limit=1000)]


def newest(feed_id: int) -> Any:
    said = values(feed_id)
    return said[-1] if said else None


def row_of(feed_id: int) -> tuple[Feed, Demand]:
    return Feed.objects.get(pk=feed_id), Demand.objects.get(pk=feed_id)


async def until(feeds: Feeds, looks: Callable[[], object], what: str) -> None:
    """Return when `looks` is true. Another thread looks."""
    await feeds.database.read(wait_until, lambda: bool(looks()), what)


async def write(feeds: Feeds, unit: Callable[..., Any], *args: Any) -> Any:
    return await feeds.database.write(unit, *args)


async def is_kept(feeds: Feeds, *feed_ids: int) -> None:
    await until(
        feeds, lambda: Demand.objects.filter(pk__in=feed_ids, kept=True).count() == len(feed_ids), "kept"
    )
