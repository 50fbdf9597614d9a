"""What `prefetch_related` reads besides the query itself: one more query for each relation on the way.

Each is known by its relation and by the queryset it starts from, given by `Prefetch` or by the model's
manager. Whose rows it asks for depends on the rows before it, so it reads its tables whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.contrib.contenttypes.fields import ReverseGenericManyToOneDescriptor
from django.db.models import Model, Prefetch, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ForwardOneToOneDescriptor,
    ManyToManyDescriptor,
    ReverseManyToOneDescriptor,
    ReverseOneToOneDescriptor,
)

from .changes import Footprint, Reads
from .tables import NotDerivable

# A relation by the model it is an attribute of, and its name there.
Followed = frozenset[tuple[type[Model], str]]
Derive = Callable[[QuerySet[Any], Followed], Footprint]


def prefetched(queryset: QuerySet[Any], derive: Derive, followed: Followed) -> Iterator[Footprint]:
    """The footprints of all queries that this queryset's prefetches make. Raises NotDerivable.

    derive     tells what one of their querysets reads, its own prefetches included
    followed   relations on the way here: managers that prefetch each other would go on for ever
    """
    lookups: tuple[Any, ...] = queryset._prefetch_related_lookups  # type: ignore[attr-defined]
    if lookups and queryset.query.deferred_loading != (frozenset(), True):
        yield whole(queryset.model)  # what is left out, but joins the two, is read one row at a time
    models = {"": queryset.model}  # of the objects at a path
    for lookup in lookups:
        if isinstance(lookup, str):
            lookup = Prefetch(lookup)
        names: list[str] = lookup.prefetch_through.split(LOOKUP_SEP)
        path = ""
        for level, name in enumerate(names):
            before, path = models[path], lookup.get_current_prefetch_to(level)
            if path in models:
                continue
            default, through = _relation(before, name)
            given = lookup.get_current_querysets(level)
            objects = given[0] if given else default
            models[path] = objects.model
            if given or (before, name) not in followed:
                yield derive(objects, followed | {(before, name)})
            yield whole(objects.model)
            if through is not None:
                yield whole(through)


def whole(model: type[Model]) -> Footprint:
    """Every column of the tables that hold rows of this model."""
    tables = [model._meta.db_table, *(parent._meta.db_table for parent in model._meta.get_parent_list())]
    return dict.fromkeys(tables, Reads())


def _relation(model: type[Model], name: str) -> tuple[QuerySet[Any], type[Model] | None]:
    """Where this attribute leads: the queryset that Django starts from, and the table between."""
    descriptor: Any = getattr(model, name, None)
    kind = type(descriptor)
    if kind in (ForwardManyToOneDescriptor, ForwardOneToOneDescriptor):
        return descriptor.field.remote_field.model._base_manager.get_queryset(), None
    if kind is ReverseOneToOneDescriptor:
        return descriptor.related.related_model._base_manager.get_queryset(), None
    if kind is ReverseManyToOneDescriptor:
        return descriptor.rel.related_model._default_manager.get_queryset(), None
    if kind is ReverseGenericManyToOneDescriptor:
        return descriptor.rel.model._default_manager.get_queryset(), None
    if kind is ManyToManyDescriptor:
        other = descriptor.rel.related_model if descriptor.reverse else descriptor.rel.model
        return other._default_manager.get_queryset(), descriptor.through
    raise NotDerivable(f"{model.__name__}.{name} is no relation whose rows are of one model")
