"""The admin: every table, for staff. What others rely on is changed by the catalogs alone, as everywhere.

Streams, journal, schedule and signs of life are shown and never edited. Token digests and the values of
secret headers are not shown at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.forms import ModelForm
from django.http import HttpRequest

from realtime.feeds.catalog import OPENED_KINDS, delete_feed
from realtime.feeds.models import ApiToken, Demand, Feed, JournalEntry
from realtime.sources.catalog import delete_source, poll_now
from realtime.sources.models import EngineSeen, Extraction, Source

from .forms import FEED_FIELDS, CatalogForm, FeedForm, NewTokenForm, SourceForm, TokenForm

EXCERPT_CHARACTERS = 100


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """Shows rows that only the machinery writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ByCatalog(admin.ModelAdmin):  # type: ignore[type-arg]
    """Saves through the form's catalog, never the row itself: it may have moved on since it was read."""

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool) -> None:
        if isinstance(form, CatalogForm):
            obj.pk = form.keep().pk

    def get_deleted_objects(
        self, objs: Iterable[Any], request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[str], list[str]]:
        """Only the rows themselves: a journal may have a hundred thousand entries."""
        rows = list(objs)
        return [str(row) for row in rows], {self.opts.verbose_name_plural: len(rows)}, set(), []

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for obj in queryset:
            self.delete_model(request, obj)


@admin.register(Feed)
class FeedAdmin(ByCatalog):
    form = FeedForm
    list_display = ("slug", "title", "kind", "public", "state", "offset", "last_ok_at")
    list_filter = ("kind", "public", "latest_only", "state")
    search_fields = ("slug", "title")
    readonly_fields = (
        *("kind", "epoch", "offset", "state", "last_ok_at", "next_poll_at", "error", "created_at"),
    )
    fields = ("slug", *FEED_FIELDS, *readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "slug") if obj else self.readonly_fields

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A channel's rules are its namespace's, a live query's those of its declaration."""
        opened = obj is not None and obj.kind in OPENED_KINDS
        return not opened and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A source's feeds go with the source."""
        filled = obj is not None and obj.kind == Feed.Kind.SOURCE
        return not filled and super().has_delete_permission(request, obj)

    def get_deleted_objects(
        self, objs: Iterable[Any], request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[str], list[str]]:
        rows = list(objs)
        names, counts, missing, _ = super().get_deleted_objects(rows, request)
        filled = [f"{row} is filled by a source" for row in rows if row.kind == Feed.Kind.SOURCE]
        return names, counts, missing, filled

    def delete_model(self, request: HttpRequest, obj: Feed) -> None:
        delete_feed(obj.slug)


@admin.register(Demand)
class DemandAdmin(ReadOnly):
    """Live queries that somebody watches or has watched; deleted as feeds."""

    list_display = (
        *("feed", "wanted_until", "engine", "kept", "evaluations", "unheard", "duration_ms", "reason"),
    )
    list_select_related = ("feed",)
    list_filter = ("kept", "engine")
    search_fields = ("feed__slug",)


@admin.register(Source)
class SourceAdmin(ByCatalog):
    form = SourceForm
    list_display = (
        "slug",
        "title",
        "url",
        "interval_s",
        "enabled",
        "last_polled_at",
        "failures",
        "last_error",
    )
    list_filter = ("enabled", "format")
    search_fields = ("slug", "title", "url")
    readonly_fields = (
        *("next_poll_at", "last_polled_at", "last_duration_ms", "failures", "last_error"),
        *("claimed_by", "claimed_until", "created_at"),
    )
    fields = (
        *("slug", "title", "url", "method", "body", "headers", "secrets", "interval_s", "timeout_s"),
        *("format", "feeds", "enabled", *readonly_fields),
    )
    actions = ("poll_selected",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Source]:
        # Not even decrypted: one that no key opens must not hide the list.
        return super().get_queryset(request).defer("secret_headers")

    def delete_model(self, request: HttpRequest, obj: Source) -> None:
        delete_source(obj.slug)

    @admin.action(description="Poll now")
    def poll_selected(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        due = [poll_now(source.slug) for source in queryset.filter(enabled=True)]
        self.message_user(request, f"{len(due)} due now; disabled ones are left out.")


@admin.register(ApiToken)
class ApiTokenAdmin(ByCatalog):
    list_display = ("name", "hint", "scopes", "created_by", "created_at", "expires_at", "revoked")
    list_filter = ("revoked",)
    search_fields = ("name",)
    readonly_fields = ("hint", "created_by", "created_at")

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[ModelForm[Any]]:
        return super().get_form(request, obj, change, **{"form": TokenForm if obj else NewTokenForm} | kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        given = ("name", "scopes", "expires_at")
        return (*given, "revoked", *self.readonly_fields) if obj else given

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool) -> None:
        if not isinstance(form, NewTokenForm):
            obj.save()
            return
        row, token = form.make(created_by=request.user)
        obj.pk = row.pk
        self.message_user(
            request, f"The token, shown this once: {token}", level=messages.WARNING, extra_tags="safe-to-copy"
        )

    def delete_model(self, request: HttpRequest, obj: ApiToken) -> None:
        obj.delete()


@admin.register(JournalEntry)
class JournalEntryAdmin(ReadOnly):
    list_display = ("feed", "offset", "published_at", "excerpt")
    list_select_related = ("feed",)
    search_fields = ("=feed__slug",)
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[JournalEntry]:
        entries: QuerySet[JournalEntry] = super().get_queryset(request)
        return entries.defer("data").annotate(beginning=Left("data", EXCERPT_CHARACTERS))

    @admin.display(description="data")
    def excerpt(self, entry: Any) -> str:
        return str(entry.beginning)


@admin.register(Extraction)
class ExtractionAdmin(ReadOnly):
    """Edited as part of its source."""

    list_display = ("source", "feed", "expression")
    list_select_related = ("source", "feed")
    search_fields = ("source__slug", "feed__slug")


@admin.register(EngineSeen)
class EngineSeenAdmin(ReadOnly):
    list_display = ("name", "started_at", "seen_at")
