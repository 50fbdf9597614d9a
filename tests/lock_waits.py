"""Whether a unit of work waits for another one's lock. On PostgreSQL."""

from __future__ import annotations

from django.db import connection


def someone_waits() -> bool:
    """Whether any connection to this database waits for a lock. A unit of work."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock')"
        )
        (waits,) = cursor.fetchone()
    return bool(waits)
