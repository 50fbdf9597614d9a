"""The schedule in the database: which engine polls which source next. Sync units of work for `Database`.

A claim is taken by one engine alone and runs out by itself: an engine that dies loses only the polls that it
had under way. Nothing here makes a request or knows what came back, beyond its outcome.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet, TextField
from django.db.models.functions import Cast

from .backoff import next_on_grid
from .fetch import Request
from .models import Extraction, Source
from .secret_field import EncryptedJSONField, UnreadableSecret

# Added to the time limit of a source's request: waiting for a slot, reading the answer, saving it.
CLAIM_SLACK_S = 5.0
LEAST_INTERVAL_S = 0.1
LONGEST_INTERVAL_S = 86_400.0
LONGEST_TIMEOUT_S = 300.0

_sealed_headers = EncryptedJSONField()


@dataclass(frozen=True, slots=True)
class Target:
    """A feed that the poll fills: which value, and when it was last good."""

    feed_id: int
    expression: str
    last_ok_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """One poll that this engine, and no other, is to make at `scheduled`.

    until         when the claim runs out; with the engine's name it tells this claim from every other
    next_poll_at  the source's next time, already in the database
    failures      in a row, before this poll
    refused       why the source cannot be polled at all; empty if it can
    """

    source_id: int
    slug: str
    request: Request
    format: str
    targets: tuple[Target, ...]
    interval_s: float
    scheduled: datetime
    until: datetime
    next_poll_at: datetime
    failures: int
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a claim came to. `polled_at` None: the poll was not made, and the source is due again.

    etag, last_modified   of the answer that the feeds hold; empty if that is not known
    """

    claim: Claim
    next_poll_at: datetime
    failures: int
    polled_at: datetime | None = None
    duration_ms: float | None = None
    error: str = ""
    etag: str = ""
    last_modified: str = ""


def put_back(claim: Claim, *, fetched: bool = False) -> Outcome:
    """The poll was not made: the source is due as it was before the claim, for any engine.

    fetched   there was an answer, of which values may have been saved: the next request is unconditional
    """
    if fetched:
        return Outcome(claim, claim.scheduled, claim.failures)
    asked = claim.request
    return Outcome(claim, claim.scheduled, claim.failures, etag=asked.etag, last_modified=asked.last_modified)


def _free(now: datetime) -> QuerySet[Source]:
    unclaimed = Q(claimed_until__isnull=True) | Q(claimed_until__lt=now)
    return Source.objects.filter(unclaimed, enabled=True)


def next_due(now: datetime) -> datetime | None:
    """When the first free source is due; `now` for one that was never scheduled, None when there is none."""
    free = _free(now).order_by(F("next_poll_at").asc(nulls_first=True))
    for moment in free.values_list("next_poll_at", flat=True)[:1]:
        return moment or now
    return None


def claim_due(now: datetime, *, engine: str, limit: int, horizon_s: float = 0.0) -> list[Claim]:
    """Take at most `limit` sources that are due by `now + horizon_s`, oldest first, for this engine alone.

    Each one's `next_poll_at` moves on along its own grid, at least half an interval past now, so that a late
    poll is not followed by the next one at once. A claim lasts `timeout_s + 5 s`. It takes ETag and
    Last-Modified out of the row: `settle` alone brings one back. A source whose secrets cannot be read is
    claimed too, with the reason in `refused`. Returns [] when nothing is due.
    """
    due = Q(next_poll_at__isnull=True) | Q(next_poll_at__lte=now + timedelta(seconds=horizon_s))
    with transaction.atomic():
        # SQLite has no row locks: there, the transaction holds the only writer's lock (IMMEDIATE).
        rows = list(
            _free(now)
            .filter(due)
            .select_for_update(skip_locked=True)
            .order_by(F("next_poll_at").asc(nulls_first=True))
            .annotate(sealed=Cast("secret_headers", TextField()))
            .values(
                *("id", "slug", "url", "method", "body", "headers", "sealed", "format", "interval_s"),
                *("timeout_s", "next_poll_at", "failures", "etag", "last_modified"),
            )[:limit]
        )
        targets = _targets([row["id"] for row in rows])
        claims = [_claim(row, targets.get(row["id"], ()), now) for row in rows]
        # A poll saves its values before it is settled. If its engine died in between, an ETag that was still
        # here would be older than they are, and "not modified" would keep a wrong value fresh.
        _update_many(
            ("next_poll_at", "claimed_until", "claimed_by", "etag", "last_modified"),
            ("id",),
            [(claim.next_poll_at, claim.until, engine, "", "", claim.source_id) for claim in claims],
        )
    return claims


def settle(outcomes: Sequence[Outcome], *, engine: str) -> None:
    """Release the claims and record what they came to, in one transaction, where they are still ours.

    A source that was changed or told to poll now meanwhile has another `next_poll_at`: of it only the claim
    is released, so that neither the new schedule nor the forgotten ETag comes back to life.
    """
    polled = [outcome for outcome in outcomes if outcome.polled_at is not None]
    waived = [outcome for outcome in outcomes if outcome.polled_at is None]
    ours = ("id", "claimed_by", "claimed_until")
    with transaction.atomic():
        _update_many(
            (
                *("claimed_until", "claimed_by", "next_poll_at", "failures", "last_polled_at"),
                *("last_duration_ms", "last_error", "etag", "last_modified"),
            ),
            (*ours, "next_poll_at"),
            [
                (
                    *(None, "", outcome.next_poll_at, outcome.failures, outcome.polled_at),
                    *(outcome.duration_ms, outcome.error[:500], outcome.etag, outcome.last_modified),
                    *(outcome.claim.source_id, engine, outcome.claim.until, outcome.claim.next_poll_at),
                )
                for outcome in polled
            ],
        )
        _update_many(
            ("claimed_until", "claimed_by", "next_poll_at", "etag", "last_modified"),
            (*ours, "next_poll_at"),
            [
                (
                    *(None, "", outcome.next_poll_at, outcome.etag, outcome.last_modified),
                    *(outcome.claim.source_id, engine, outcome.claim.until, outcome.claim.next_poll_at),
                )
                for outcome in waived
            ],
        )
        _update_many(
            ("claimed_until", "claimed_by"),
            ours,
            [(None, "", outcome.claim.source_id, engine, outcome.claim.until) for outcome in outcomes],
        )


def _targets(source_ids: Sequence[int]) -> dict[int, tuple[Target, ...]]:
    by_source: dict[int, tuple[Target, ...]] = {}
    rows = Extraction.objects.filter(source_id__in=source_ids).order_by("feed_id")
    for source_id, feed_id, expression, last_ok_at in rows.values_list(
        "source_id", "feed_id", "expression", "feed__last_ok_at"
    ):
        by_source[source_id] = (*by_source.get(source_id, ()), Target(feed_id, expression, last_ok_at))
    return by_source


def _claim(row: dict[str, Any], targets: tuple[Target, ...], now: datetime) -> Claim:
    scheduled = row["next_poll_at"] or now
    begins = max(now, scheduled)
    # Rows may come from a shell, past every validator; one of them must not stop the others.
    interval_s = min(max(row["interval_s"], LEAST_INTERVAL_S), LONGEST_INTERVAL_S)
    timeout_s = min(max(row["timeout_s"], LEAST_INTERVAL_S), LONGEST_TIMEOUT_S)
    headers, refused = _headers(row)
    # A feed that has no value yet cannot be served by "not modified".
    conditional = all(target.last_ok_at is not None for target in targets)
    return Claim(
        source_id=row["id"],
        slug=row["slug"],
        request=Request(
            url=row["url"],
            method=row["method"],
            headers=headers,
            body=row["body"],
            timeout_s=timeout_s,
            etag=row["etag"] if conditional else "",
            last_modified=row["last_modified"] if conditional else "",
        ),
        format=row["format"],
        targets=targets,
        interval_s=interval_s,
        scheduled=scheduled,
        until=begins + timedelta(seconds=timeout_s + CLAIM_SLACK_S),
        next_poll_at=next_on_grid(scheduled, interval_s, begins + timedelta(seconds=interval_s / 2)),
        failures=row["failures"],
        refused=refused,
    )


def _headers(row: dict[str, Any]) -> tuple[dict[str, str], str]:
    """All headers, the secret ones opened; or none, and why they cannot be read."""
    try:
        return row["headers"] | _sealed_headers.from_db_value(row["sealed"], None, None), ""
    except UnreadableSecret as error:
        return {}, str(error)
    except (TypeError, ValueError):
        return {}, "The headers cannot be read: they must be a JSON object of names and texts."


def _update_many(columns: Sequence[str], where: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """One prepared UPDATE for all rows: bulk_update's CASE per row costs ten times as much in SQL text."""
    batch = [_prepared((*columns, *where), row) for row in rows]
    if not batch:
        return
    quote = connection.ops.quote_name
    assignments = ", ".join(f"{quote(column)} = %s" for column in columns)
    conditions = " AND ".join(f"{quote(column)} = %s" for column in where)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {quote(Source._meta.db_table)} SET {assignments} WHERE {conditions}",  # noqa: S608 - constants
            batch,
        )


def _prepared(columns: Sequence[str], row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        Source._meta.get_field(column).get_db_prep_save(value, connection)  # type: ignore[union-attr]
        for column, value in zip(columns, row, strict=True)
    )
