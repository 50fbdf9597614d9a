"""Several engines on one database: threads here, as they would be processes elsewhere."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone

from realtime.feeds.database import Database
from realtime.sources.models import Source
from realtime.sources.schedule import Claim, Outcome, claim_due, settle
from tests.sources.rows import make_source

pytestmark = pytest.mark.django_db(transaction=True)

SOURCES = 60
ROUNDS = 4


async def test_engines_that_claim_at_the_same_time_share_the_sources_and_never_one_of_them_twice() -> None:
    engines = {name: Database(threads=2) for name in ("one", "two", "three")}
    start = timezone.now()
    polled: Counter[tuple[str, int]] = Counter()
    shares: Counter[str] = Counter()

    def make() -> None:
        for number in range(SOURCES):
            make_source(f"s{number}", next_poll_at=start, interval_s=10)

    def turn(name: str, round_: int) -> list[Claim]:
        # Every engine's clock differs a little, as they do.
        now = start + timedelta(seconds=10 * round_ + len(name) / 100)
        claims = claim_due(now, engine=name, limit=7)
        settle([Outcome(claim, claim.next_poll_at, 0, polled_at=now) for claim in claims], engine=name)
        return claims

    async def claim(name: str, round_: int) -> list[Claim]:
        claims = await engines[name].write(turn, name, round_)
        shares[name] += len(claims)
        polled.update((claim.slug, round_) for claim in claims)
        return claims

    async def claim_the_rest(name: str, round_: int) -> None:
        while await claim(name, round_):
            pass

    try:
        await engines["one"].write(make)
        for round_ in range(ROUNDS):
            # Nobody takes a second helping before each had a first one.
            await asyncio.gather(*(claim(name, round_) for name in engines))
            await asyncio.gather(*(claim_the_rest(name, round_) for name in engines))
        due = await engines["one"].read(lambda: set(Source.objects.values_list("next_poll_at", flat=True)))
    finally:
        for database in engines.values():
            await database.aclose()
    assert len(polled) == SOURCES * ROUNDS
    assert set(polled.values()) == {1}
    assert all(shares[name] for name in engines)
    assert due == {start + timedelta(seconds=10 * ROUNDS)}
