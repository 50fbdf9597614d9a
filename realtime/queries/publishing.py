"""What evaluations come to: publications, how well the feeds are, and notes on their demand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.utils import timezone

from realtime.conf import conf
from realtime.errors import HeadwaterError, NotFound, QueryFailed, Unavailable
from realtime.feeds.runtime import Feeds
from realtime.feeds.store import Health, Write

from .claims import Held, Note, save_notes
from .evaluation import Evaluation
from .line import Line

logger = logging.getLogger(__name__)

NOTES_EVERY_S = 2.0
FIRST_RETRY_S = 1.0
REASON_CHARACTERS = 10_000


class Publisher:
    """Publishes for one engine, by the store. Notes are kept within `NOTES_EVERY_S`, news at once."""

    def __init__(self, feeds: Feeds, *, name: str) -> None:
        self._feeds = feeds
        self._name = name
        self._notes: dict[int, Note] = {}
        self._news = asyncio.Event()

    async def publish(self, line: Line, evaluation: Evaluation, *, took_s: float) -> None:
        """Publish what differs from what was published before, and that it is fresh.

        What has not changed is not even written, unless it was an interval that led to this evaluation: then
        it is the sign that the value still holds. Raises Unavailable.
        """
        unheard = not line.heard
        now = timezone.now()
        key = evaluation.outcome.key
        texts: dict[int, str | HeadwaterError] = {}
        for feed_id, block in line.feeds.items():
            if not block:
                texts[feed_id] = evaluation.outcome.text
            elif block in evaluation.painted:
                texts[feed_id] = evaluation.painted[block]
        writes, counted = [], {}
        for feed_id, text in texts.items():
            before = line.told.get(feed_id)
            if isinstance(text, HeadwaterError):
                writes.append(Write(feed_id, health=_failing(text, line.last_ok_at[feed_id])))
            elif text != before or unheard:
                tags = json.dumps({"key": ",".join(key)}) if key and not line.feeds[feed_id] else ""
                writes.append(Write(feed_id, text, Health("fresh", now, None), tags=tags))
            missed = (
                unheard
                and before is not None
                and before != text
                and not line.hears(evaluation.outcome.footprint)
            )
            if missed:
                logger.warning("change_unheard query=%s", line.base)
            reason = _reason(text) if isinstance(text, HeadwaterError) else ""
            counted[feed_id] = self._count(feed_id, took_s, reason, missed=missed)
        await self._write(writes)
        for feed_id in texts.keys() & line.feeds.keys():  # some may have been let go meanwhile
            text = texts[feed_id]
            if feed_id not in line.told:
                self._keep(counted[feed_id])
            if isinstance(text, str):
                line.last_ok_at[feed_id] = now
            line.told[feed_id] = text if isinstance(text, str) else ""
        if line.failures:
            logger.info("query_recovered query=%s failures=%d", line.base, line.failures)
        line.failures = 0

    async def fail(self, line: Line, error: HeadwaterError, *, took_s: float) -> float:
        """Tell that the query has no result now: its feeds keep the last one. Returns the seconds to wait."""
        if isinstance(error, Unavailable):
            return FIRST_RETRY_S
        line.failures += 1
        doubled: float = FIRST_RETRY_S * 2.0 ** min(line.failures - 1, 30)
        wait_s = min(doubled, conf().backoff_cap_s) * random.uniform(0.75, 1.25)  # noqa: S311
        reason = _reason(error)
        log = logger.warning if line.failures == 1 else logger.debug
        log("query_failed query=%s code=%s failures=%d\n%s", line.base, error.code, line.failures, reason)
        line.told.clear()
        feed_ids = list(line.feeds)
        counted = [self._count(feed_id, took_s, reason) for feed_id in feed_ids]
        with contextlib.suppress(Unavailable):
            await self._write(
                [Write(id_, health=_failing(error, line.last_ok_at[id_], wait_s)) for id_ in feed_ids]
            )
            for note in counted:
                self._keep(note)
        return wait_s

    async def pause(self, unwanted: Sequence[Held]) -> None:
        """Nobody watches these any more: they are not kept true, and say so to whoever looks."""
        with contextlib.suppress(Unavailable):
            await self._write(
                [Write(each.feed_id, health=Health("paused", each.last_ok_at, None)) for each in unwanted]
            )

    async def _write(self, writes: list[Write]) -> None:
        """Commit them all. A feed that is gone needs nothing; raises Unavailable."""
        results = await asyncio.gather(*map(self._feeds.store.write, writes), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, NotFound):
                raise result

    def _count(self, feed_id: int, took_s: float, reason: str = "", *, missed: bool = False) -> Note:
        """Note an evaluation before its result is committed: who sees the result finds it counted."""
        note = Note(
            feed_id,
            kept=False,
            evaluations=1,
            unheard=int(missed),
            duration_ms=round(took_s * 1000, 1),
            reason=reason,
        )
        self._add(note)
        return note

    def _keep(self, counted: Note) -> None:
        """Note, after the commit, that the feed is filled: somebody may be waiting for that."""
        self._add(replace(counted, kept=True, evaluations=0, unheard=0))
        self._news.set()

    def _add(self, note: Note) -> None:
        before = self._notes.get(note.feed_id)
        self._notes[note.feed_id] = note if before is None else before.and_then(note)

    async def keep_notes(self) -> None:
        """Keep the notes, for ever. A database that is away gets them later."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(NOTES_EVERY_S):
                    await self._news.wait()
            self._news.clear()
            await self.save_notes()

    async def save_notes(self) -> None:
        """Keep the notes made so far."""
        notes, self._notes = self._notes, {}
        if not notes:
            return
        try:
            await self._feeds.database.finish(save_notes, self._name, list(notes.values()))
        except Unavailable:
            later, self._notes = self._notes, notes
            for note in later.values():
                self._add(note)
            await asyncio.sleep(FIRST_RETRY_S)
            self._news.set()


def _failing(error: HeadwaterError, last_ok_at: datetime | None, wait_s: float | None = None) -> Health:
    next_at = timezone.now() + timedelta(seconds=wait_s) if wait_s is not None else None
    return Health("failing", last_ok_at, next_at, error.message)


def _reason(error: HeadwaterError) -> str:
    reason = error.reason if isinstance(error, QueryFailed) else error.message
    return reason.replace("\x00", "")[-REASON_CHARACTERS:]
