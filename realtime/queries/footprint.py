"""What a queryset reads, as far as its own joins tell. To be replaced by what sees subqueries and prefetches."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from .changes import Reads


class NotDerivable(Exception):
    """What a queryset reads cannot be derived from it."""


def footprint_of(queryset: QuerySet[Any]) -> dict[str, Reads]:
    """What the queryset reads. Raises NotDerivable."""
    query = queryset.query.chain()
    if query.extra:
        raise NotDerivable("it uses extra()")
    query.get_compiler(queryset.db).pre_sql_setup()
    return {table: Reads() for table in query.table_map}
