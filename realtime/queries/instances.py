"""Model instances as dicts: the concrete fields that were loaded, and what was loaded with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Manager, Model, Prefetch, QuerySet

from realtime.errors import BadInput

# As deep as Django follows `select_related()` without names.
_DEEPEST = 5


@dataclass(slots=True)
class Shape:
    """What instances have besides their fields.

    names     of annotations
    related   what `select_related` and `prefetch_related` loaded, by name
    """

    names: set[str] = field(default_factory=set)
    related: dict[str, Shape] = field(default_factory=dict)

    def at(self, path: Iterable[str]) -> Shape:
        """That of what is related by these names, one after the other."""
        shape = self
        for name in path:
            shape = shape.related.setdefault(name, Shape())
        return shape

    def add(self, other: Shape) -> None:
        """Have all that `other` has, too."""
        self.names |= other.names
        for name, shape in other.related.items():
            self.at([name]).add(shape)


def shape_of(queryset: QuerySet[Any]) -> Shape:
    """What a queryset loads besides the fields of its instances; nothing where its rows are no instances."""
    loaded_by: Any = queryset  # django-stubs does not know what it keeps to itself
    if loaded_by._fields is not None:
        return Shape()
    query = queryset.query
    shape = Shape({*query.extra_select, *query.annotation_select})
    if query.select_related is True:
        _add_required(shape, queryset.model, _DEEPEST)
    elif query.select_related:
        _add_selected(shape, query.select_related)
    for lookup in loaded_by._prefetch_related_lookups:
        each = lookup if isinstance(lookup, Prefetch) else Prefetch(lookup)
        loaded = shape.at(each.prefetch_to.split("__"))
        if each.queryset is not None:
            loaded.add(shape_of(each.queryset))
    return shape


def row_of(instance: Model, shape: Shape) -> dict[str, Any]:
    """One instance. Reads nothing from the database: a field that was deferred is not in it.

    Raises BadInput naming `result` for a user's whole row, which holds the hash of a password.
    """
    deferred = instance.get_deferred_fields()
    fields = [field.attname for field in instance._meta.concrete_fields if field.attname not in deferred]
    if isinstance(instance, AbstractBaseUser) and "password" in fields:
        raise BadInput(
            f"result: whole rows of {instance._meta.label} hold the hash of a password. Name what may be"
            ' seen, as with .values("username"), .only(…) or .defer("password").',
            field="result",
        )
    row = {name: getattr(instance, name) for name in (*fields, *sorted(shape.names))}
    for name, inner in shape.related.items():
        try:
            related = getattr(instance, name)
        except ObjectDoesNotExist:  # the other side of a one-to-one that has none
            related = None
        if isinstance(related, Manager):
            related = related.all()
        if related is None or isinstance(related, Model):
            row[name] = None if related is None else row_of(related, inner)
        else:
            row[name] = [row_of(each, inner) for each in related]
    return row


def _add_selected(shape: Shape, selected: Mapping[str, Any]) -> None:
    for name, inner in selected.items():
        _add_selected(shape.at([name]), inner)


def _add_required(shape: Shape, model: type[Model], depth: int) -> None:
    for each in model._meta.concrete_fields:
        if depth and each.remote_field and not each.null and isinstance(each.related_model, type):
            _add_required(shape.at([each.name]), each.related_model, depth - 1)
