"""Which engine fills which feeds that are wanted. Sync functions, each one unit of work for `Database.write`.

An engine holds what it claimed until `CLAIM_S` after its last `hold`; what a dead one held is free then.
Feeds of one base are held together.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from realtime.feeds.models import Demand

CLAIM_S = 6.0
RENEW_EVERY_S = 2.0
CLAIM_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Held:
    """A feed that this engine fills. `last_ok_at` is when its value was last published as the present one."""

    feed_id: int
    slug: str
    base: str
    last_ok_at: datetime | None


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
    What is newly claimed counts as not kept.
    """
    until = now + timedelta(seconds=CLAIM_S)
    with transaction.atomic():
        unwanted = _held(Demand.objects.filter(engine=engine, wanted_until__lte=now))
        Demand.objects.filter(feed_id__in=[held.feed_id for held in unwanted]).update(
            engine="", claimed_until=None, kept=False
        )
        Demand.objects.filter(engine=engine).update(claimed_until=until)
        free = Demand.objects.filter(_free(engine, now)).order_by("feed_id")
        if connection.features.has_select_for_update_skip_locked:
            free = free.select_for_update(skip_locked=True)
        wanted = list(free.values_list("feed_id", "base")[:CLAIM_LIMIT])
        bases = {base for _, base in wanted}
        others = Demand.objects.filter(base__in=bases, claimed_until__gt=now).exclude(engine__in=("", engine))
        elsewhere = set(others.values_list("base", flat=True)) if bases else set()
        Demand.objects.filter(feed_id__in=[id_ for id_, base in wanted if base not in elsewhere]).update(
            engine=engine, claimed_until=until, kept=False
        )
        return _held(Demand.objects.filter(engine=engine)), unwanted


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
                for each in notes
            ],
        )


def release(engine: str) -> None:
    """Let go of everything at once, for other engines."""
    Demand.objects.filter(engine=engine).update(engine="", claimed_until=None, kept=False)
