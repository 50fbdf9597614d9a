"""Which engine fills which feeds that are wanted. Sync functions, each one unit of work for `Database.write`.

An engine holds what it claimed until `CLAIM_S` after its last `hold`; what a dead one held is free then.
Feeds of one base are held together. Rows are locked in the order of their feeds, by whoever locks several.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from realtime.feeds.models import Demand

CLAIM_S = 6.0
RENEW_EVERY_S = 2.0
CLAIM_LIMIT = 1_000
# Of PostgreSQL. An engine that stands still with the lock loses it before the claims of the others end.
LOCK = int.from_bytes(hashlib.sha256(b"headwater claims").digest()[:7])
STILL_LIMIT_S = 3


@dataclass(frozen=True, slots=True)
class Held:
    """A feed that this engine fills.

    last_ok_at   when its value was last published as the present one
    is_new       it was claimed just now, and counts as not kept
    """

    feed_id: int
    slug: str
    base: str
    last_ok_at: datetime | None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be kept of the evaluations of one feed since the last note of it.

    kept      it has been filled: its value is the present one, or it says why it has none
    reason    why it fails; empty: it does not
    """

    feed_id: int
    kept: bool
    evaluations: int
    unheard: int
    duration_ms: float
    reason: str

    def and_then(self, later: Note) -> Note:
        """Both as one: the counts of both, and how the later one found it."""
        return replace(
            later,
            kept=self.kept or later.kept,
            evaluations=self.evaluations + later.evaluations,
            unheard=self.unheard + later.unheard,
        )


def needs_hold(engine: str, now: datetime) -> bool:
    """Whether there is anything for `hold` to do. Only reads."""
    return Demand.objects.filter(_free(engine, now) | _mine(engine, now)).exists()


def _free(engine: str, now: datetime) -> Q:
    unclaimed = Q(engine="") | Q(claimed_until__lte=now)
    return Q(wanted_until__gt=now) & unclaimed & ~Q(engine=engine)


def _mine(engine: str, now: datetime) -> Q:
    """What this engine holds and nobody wants any more, or would soon lose."""
    old = now + timedelta(seconds=CLAIM_S - RENEW_EVERY_S)
    return Q(engine=engine) & (Q(wanted_until__lte=now) | Q(claimed_until__lte=old))


def hold(engine: str, now: datetime) -> tuple[list[Held], list[Held]]:
    """Renew what this engine holds, let go what nobody wants, claim what is free.

    Returns what it holds now, and what it let go.
    """
    until = now + timedelta(seconds=CLAIM_S)
    with transaction.atomic():
        _take_turn()
        # Under their locks: who wants one again at this moment has done so by now, or finds it let go.
        over = [feed_id for feed_id, wanted_until in _lock(engine) if wanted_until <= now]
        unwanted = _held(Demand.objects.filter(feed_id__in=over))
        _let_go(over)
        Demand.objects.filter(engine=engine).update(claimed_until=until)
        claimed = _free_whole_bases(engine, now)
        Demand.objects.filter(feed_id__in=claimed).update(engine=engine, claimed_until=until, kept=False)
        mine = _held(Demand.objects.filter(engine=engine))
        return [replace(each, is_new=each.feed_id in claimed) for each in mine], unwanted


def _take_turn() -> None:
    """Only one engine at a time claims: another sees then which bases are held."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                f"SET LOCAL idle_in_transaction_session_timeout = '{STILL_LIMIT_S}s';"
                f" SELECT pg_advisory_xact_lock({LOCK})"
            )


def _lock(engine: str) -> list[tuple[int, datetime]]:
    """What this engine holds, and until when that is wanted; locked."""
    mine = Demand.objects.select_for_update().filter(engine=engine).order_by("feed_id")
    return list(mine.values_list("feed_id", "wanted_until"))


def _free_whole_bases(engine: str, now: datetime) -> set[int]:
    """The feeds, locked, that this engine may claim: what is free, of bases that no other engine holds."""
    free = Demand.objects.filter(_free(engine, now)).order_by("base", "feed_id")
    if connection.features.has_select_for_update_skip_locked:
        free = free.select_for_update(skip_locked=True)
    found = list(free.values_list("feed_id", "base")[:CLAIM_LIMIT])
    bases = {base for _, base in found}
    if len(found) == CLAIM_LIMIT and len(bases) > 1:
        bases.remove(found[-1][1])  # there may be more of it: the next look finds it whole
    if bases:
        others = Demand.objects.filter(base__in=bases, claimed_until__gt=now).exclude(engine__in=("", engine))
        bases -= set(others.values_list("base", flat=True))
    return {feed_id for feed_id, base in found if base in bases}


def _let_go(feed_ids: Collection[int]) -> None:
    Demand.objects.filter(feed_id__in=feed_ids).update(engine="", claimed_until=None, kept=False)


def _held(rows: QuerySet[Demand]) -> list[Held]:
    columns = ("feed_id", "feed__slug", "base", "feed__last_ok_at")
    return [Held(*row) for row in rows.order_by("feed_id").values_list(*columns)]


def save_notes(engine: str, notes: Collection[Note]) -> None:
    """Keep what is known of evaluations, of feeds that this engine still holds."""
    table = connection.ops.quote_name(Demand._meta.db_table)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table} SET kept = kept OR %s, evaluations = evaluations + %s, unheard = unheard + %s, "  # noqa: S608
            "duration_ms = %s, reason = %s WHERE feed_id = %s AND engine = %s",
            [
                (
                    each.kept,
                    each.evaluations,
                    each.unheard,
                    each.duration_ms,
                    each.reason,
                    each.feed_id,
                    engine,
                )
                for each in sorted(notes, key=lambda note: note.feed_id)
            ],
        )


def release(engine: str) -> None:
    """Let go of everything at once, for other engines."""
    with transaction.atomic():
        _let_go([feed_id for feed_id, _ in _lock(engine)])
