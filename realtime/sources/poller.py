"""Decides when: claims what is due, has it fetched and read, and hands the values to the store.

One poll is one task. Whatever goes wrong in it is that source's failure: its feeds keep their last value,
watchers are told, and it is asked again after a back-off. Knows no HTTP, no format, and nobody who watches.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.db import transaction
from django.utils import timezone

from realtime.conf import conf
from realtime.errors import FetchError, HeadwaterError, NotFound, Unavailable
from realtime.feeds.runtime import Feeds
from realtime.feeds.store import Health, Write

from .backoff import backoff_s, next_on_grid
from .fetch import Fetcher, Response
from .reading import Reading, read_values
from .schedule import CLAIM_SLACK_S, Claim, Outcome, Target, claim_due, next_due, put_back, settle
from .slots import Slots

logger = logging.getLogger(__name__)

# Sources are claimed this long before their time, so that a busy database makes no poll late.
HORIZON_S = 0.75
# How often the schedule is looked at: other processes add sources and ask to poll now.
CHECK_EVERY_S = 0.25
CLAIM_LIMIT = 500
# Larger answers are read in a thread: parsing 64 KiB takes about a millisecond.
INLINE_LIMIT_BYTES = 64 * 1024
RELEASE_TIMEOUT_S = 5.0
SAVE_AGAIN_S = 0.5
# No try to save begins later than this before the claim runs out: a commit takes its time, too.
SAVE_MARGIN_S = 1.0


class Poller:
    """Polls what is due, for one engine on one loop. `name` is the engine's, under which it claims."""

    def __init__(
        self,
        feeds: Feeds,
        fetcher: Fetcher,
        *,
        name: str,
        concurrency: int | None = None,
        per_host: int | None = None,
    ) -> None:
        self._feeds = feeds
        self._fetcher = fetcher
        self._name = name
        self._slots = Slots(concurrency or conf().poll_concurrency, per_host or conf().poll_per_host)
        self._outcomes: list[Outcome] = []
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """Look at the schedule now: this process has just changed it."""
        self._poked.set()

    async def run(self) -> None:
        """Poll until cancelled; then end the polls under way and give their claims back.

        A database that is away ends nothing: what is known is kept and saved when it is back.
        """
        try:
            async with asyncio.TaskGroup() as polls:
                while True:
                    self._poked.clear()
                    claims = await self._exchange()
                    for claim in claims:
                        polls.create_task(self._poll(claim), name=f"headwater poll {claim.slug}")
                    if len(claims) < CLAIM_LIMIT:
                        await self._pause()
        finally:
            await self._release()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(CHECK_EVERY_S):
                await self._poked.wait()
        except TimeoutError:
            return

    async def _exchange(self) -> list[Claim]:
        """Settle what is done and claim what comes next: one transaction, and none when there is neither."""
        now = timezone.now()
        outcomes, self._outcomes = self._outcomes, []
        try:
            if not outcomes:
                due = await self._feeds.database.read(next_due, now)
                if due is None or due > now + timedelta(seconds=HORIZON_S):
                    return []
            # Cut off, it would take with it what polls came to, and claim what nobody polls.
            return await self._feeds.database.finish(
                _settle_and_claim, outcomes, self._name, late=self._put_back
            )
        except Unavailable:
            self._outcomes = outcomes + self._outcomes
            logger.warning("schedule_unavailable unsaved=%d", len(self._outcomes))
            return []

    def _put_back(self, claims: list[Claim]) -> None:
        self._outcomes += map(put_back, claims)

    async def _release(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                # Else a value of ours could follow a newer one of the engine that claims next.
                await self._feeds.store.settled()
                await self._feeds.database.write(_settle, outcomes, self._name)
        except (Unavailable, TimeoutError):
            logger.warning("claims_not_released count=%d", len(outcomes))

    async def _poll(self, claim: Claim) -> None:
        fetched = False
        try:
            came = await self._ask(claim)
            fetched = isinstance(came, Response)
            outcome = await self._answered(claim, came) if isinstance(came, Response) else came
        except asyncio.CancelledError:
            self._outcomes.append(put_back(claim, fetched=fetched))
            raise
        except Exception:
            logger.exception("poll_broke source=%s", claim.slug)
            outcome = await self._failed(claim, HeadwaterError("Headwater made a mistake with this answer."))
            # Some of its values may have been saved before.
            outcome = replace(outcome, etag="", last_modified="")
        self._outcomes.append(outcome)

    async def _ask(self, claim: Claim) -> Response | Outcome:
        """Make the request in its turn: the answer, or what the poll came to without one."""
        if claim.refused:
            return await self._failed(claim, HeadwaterError(claim.refused))
        await asyncio.sleep((claim.scheduled - timezone.now()).total_seconds())
        # The claim must outlast the request; half of its slack is for waiting here.
        patience_s = (
            (claim.until - timezone.now()).total_seconds() - claim.request.timeout_s - CLAIM_SLACK_S / 2
        )
        try:
            async with self._slots.hold(_host_of(claim.request.url), within_s=patience_s):
                try:
                    return await self._fetcher.fetch(claim.request)
                except HeadwaterError as error:
                    return await self._failed(claim, error)
        except TimeoutError:
            logger.info("host_busy source=%s", claim.slug)
            return put_back(claim)

    async def _answered(self, claim: Claim, response: Response) -> Outcome:
        """Save what the answer holds. A feed whose value is not in it fails alone; the source if all do."""
        readings: list[Reading] = [None] * len(claim.targets)
        if not response.not_modified:
            readings = await self._read(claim, response)
        failures = [reading for reading in readings if isinstance(reading, HeadwaterError)]
        if failures and len(failures) == len(readings):
            return await self._failed(claim, failures[0], failures)
        now = timezone.now()
        next_poll_at = claim.next_poll_at
        if next_poll_at <= now:  # it overran: what was missed is not made up for
            next_poll_at = next_on_grid(claim.scheduled, claim.interval_s, now)
        writes = [
            _failing(target, next_poll_at, reading)
            if isinstance(reading, HeadwaterError)
            else Write(target.feed_id, reading, Health("fresh", now, next_poll_at))
            for target, reading in zip(claim.targets, readings, strict=True)
        ]
        saved = await self._save(claim, writes)
        if claim.failures:
            logger.info("poll_recovered source=%s failures=%d", claim.slug, claim.failures)
        # "Not modified" may only ever stand for an answer of which every value was saved.
        complete = saved and not failures
        return Outcome(
            claim,
            next_poll_at,
            failures=0,
            polled_at=now,
            duration_ms=response.duration_ms,
            error=_words(failures[0]) if failures else "",
            etag=response.etag if complete else "",
            last_modified=response.last_modified if complete else "",
        )

    async def _read(self, claim: Claim, response: Response) -> list[Reading]:
        work = (
            *(response.body, claim.format, response.content_type),
            *([target.expression for target in claim.targets], conf().value_limit_bytes),
        )
        if len(response.body) > INLINE_LIMIT_BYTES:
            return await asyncio.to_thread(read_values, *work)
        return read_values(*work)

    async def _failed(
        self, claim: Claim, error: HeadwaterError, each: list[HeadwaterError] | None = None
    ) -> Outcome:
        """Tell that the poll failed; the feeds keep their last value. `each`: the reasons, feed by feed."""
        now = timezone.now()
        failures = claim.failures + 1
        wait_s = backoff_s(
            failures,
            interval_s=claim.interval_s,
            cap_s=conf().backoff_cap_s,
            retry_after_s=error.retry_after_s if isinstance(error, FetchError) else None,
        )
        next_poll_at = now + timedelta(seconds=wait_s)
        log = logger.warning if failures == 1 else logger.debug
        log("poll_failed source=%s code=%s failures=%d wait_s=%.1f", claim.slug, error.code, failures, wait_s)
        reasons = each or [error] * len(claim.targets)
        pairs = zip(claim.targets, reasons, strict=True)
        await self._save(claim, [_failing(target, next_poll_at, reason) for target, reason in pairs])
        return Outcome(
            claim,
            next_poll_at,
            failures,
            polled_at=now,
            error=_words(error),
            # They belong to the last answer that was saved, which is still what the feeds hold.
            etag=claim.request.etag,
            last_modified=claim.request.last_modified,
        )

    async def _save(self, claim: Claim, writes: list[Write]) -> bool:
        """Commit the writes; whether that succeeded within the claim. A feed that is gone needs nothing.

        Once the claim may have run out, another poll may have saved what is newer.
        """
        last_try = claim.until - timedelta(seconds=SAVE_MARGIN_S)
        while timezone.now() < last_try:
            results = await asyncio.gather(*map(self._feeds.store.write, writes), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException) and not isinstance(result, (NotFound, Unavailable)):
                    raise result
            pairs = zip(writes, results, strict=True)
            writes = [write for write, result in pairs if isinstance(result, Unavailable)]
            if not writes:
                return True
            await asyncio.sleep(SAVE_AGAIN_S)
        logger.warning("poll_not_saved source=%s", claim.slug)
        return False


def _settle_and_claim(outcomes: list[Outcome], name: str) -> list[Claim]:
    with transaction.atomic():
        settle(outcomes, engine=name)
        return claim_due(timezone.now(), engine=name, limit=CLAIM_LIMIT, horizon_s=HORIZON_S)


def _settle(outcomes: list[Outcome], name: str) -> None:
    settle(outcomes, engine=name)


def _failing(target: Target, next_poll_at: datetime, reason: HeadwaterError) -> Write:
    return Write(target.feed_id, health=Health("failing", target.last_ok_at, next_poll_at, _words(reason)))


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _words(error: HeadwaterError) -> str:
    """The message as any database takes it: an upstream may have had its say in it."""
    return error.message.encode(errors="replace").decode().replace("\x00", "")[:500]
