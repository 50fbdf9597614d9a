"""Publications that are made once however often they are asked for: each has a key, good for five minutes.

Looked up and kept in the transaction that publishes, under the feed's lock: no retry comes in between, on
whichever process. Sync functions for units of work.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from django.db import transaction

from .models import IdempotencyKey
from .position import Position
from .publication import digest_of

KEPT_S = 300.0
BITE = 1_000

Key = tuple[int, str]  # a feed, and what the publisher calls the publication


def find_made(keys: Collection[Key], now: datetime) -> dict[Key, Position]:
    """Where those of these publications are that were made within the last `KEPT_S`."""
    asked = {(feed_id, digest_of(key)): (feed_id, key) for feed_id, key in keys}
    rows = IdempotencyKey.objects.filter(
        feed_id__in={feed_id for feed_id, _ in asked},
        digest__in={digest for _, digest in asked},
        made_at__gt=now - timedelta(seconds=KEPT_S),
    ).values_list("feed_id", "digest", "epoch", "offset")
    return {
        asked[feed_id, digest]: Position(epoch, offset)
        for feed_id, digest, epoch, offset in rows
        if (feed_id, digest) in asked
    }


def keep_made(made: Mapping[Key, Position], now: datetime) -> None:
    """Remember these from now on."""
    IdempotencyKey.objects.bulk_create(
        (
            IdempotencyKey(
                feed_id=feed_id,
                digest=digest_of(key),
                epoch=position.epoch,
                offset=position.offset,
                made_at=now,
            )
            for (feed_id, key), position in made.items()
        ),
        update_conflicts=True,
        unique_fields=["feed", "digest"],
        update_fields=["epoch", "offset", "made_at"],
    )


def forget_old(now: datetime) -> int:
    """Delete at most `BITE` keys that are not good any more; how many."""
    old = IdempotencyKey.objects.filter(made_at__lte=now - timedelta(seconds=KEPT_S))
    with transaction.atomic():
        # One that is being used again, which renews it, is locked and not old any more.
        locked = old.select_for_update(skip_locked=True).values_list("pk", flat=True)
        deleted, _ = IdempotencyKey.objects.filter(pk__in=list(locked[:BITE])).delete()
    return deleted
