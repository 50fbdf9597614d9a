"""Forms whose rules are the catalogs': tried out in a transaction that is rolled back, then done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction
from django.forms import ModelForm

from realtime.errors import HeadwaterError, InvalidDraft
from realtime.feeds.access import create_token
from realtime.feeds.catalog import change_feed, create_feed
from realtime.feeds.models import ApiToken, Feed
from realtime.sources.catalog import (
    FeedDraft,
    SourceDraft,
    change_source,
    create_source,
    draft_of,
)
from realtime.sources.models import Source

# The admin narrows a form's Meta.fields; these are what the catalogs are given.
FEED_FIELDS = (
    *("title", "public", "latest_only", "presence", "join_leave", "client_publish", "recovery"),
    *("retention_count", "retention_age_s"),
)
SOURCE_FIELDS = (
    *("slug", "title", "url", "method", "body", "headers", "interval_s", "timeout_s"),
    *("format", "enabled"),
)


class CatalogForm(ModelForm):  # type: ignore[type-arg]
    """`keep` saves by a catalog; `clean` does the same and undoes it, and puts every problem at its field."""

    def keep(self) -> Any:
        """Save, and return what has the row's `pk`."""
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors:
            try:
                with transaction.atomic():
                    self.keep()
                    transaction.set_rollback(True)
            except InvalidDraft as error:
                for field, problem in error.problems.items():
                    self._blame(field, problem)
            except HeadwaterError as error:
                self._blame(error.field or "", error.message)
        return cleaned

    def _blame(self, field: str, problem: str) -> None:
        """`feeds.0.slug` and the like are lines of one field here."""
        first, _, rest = field.partition(".")
        known = {"secret_headers": "secrets", "scope": "scopes"}.get(first, first)
        message = f"{rest}: {problem}" if rest and rest not in problem else problem
        self.add_error(known if known in self.fields else NON_FIELD_ERRORS, message)

    def _post_clean(self) -> None:
        """Leaves the row alone: its own rules are the catalog's too."""
        if not self.errors:
            self.instance = forms.models.construct_instance(self, self.instance, self._meta.fields)


class FeedForm(CatalogForm):
    class Meta:
        model = Feed
        fields = ("slug", *FEED_FIELDS)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "title" in self.fields:  # there is no field where a row is only looked at
            self.fields["title"].required = False

    def keep(self) -> Any:
        given = {name: self.cleaned_data[name] for name in FEED_FIELDS}
        if self.instance.pk:
            return Feed(pk=change_feed(self.instance.slug, **given).id)
        return Feed(pk=create_feed(self.cleaned_data["slug"], **given).id)


class SourceForm(CatalogForm):
    secrets = forms.CharField(
        label="Secret headers",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One “Name: value” a line. A name alone keeps its stored value; values are never shown.",
    )
    feeds = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="One “feed-slug: JMESPath” a line; a slug alone takes the whole answer. A feed whose line "
        "is removed is deleted with its journal. Titles and who may read are set at the feed.",
    )

    class Meta:
        model = Source
        fields = SOURCE_FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "title" in self.fields:  # there is no field where a row is only looked at
            self.fields["title"].required = False
        # Before the form changes the instance: what is stored.
        self._stored = draft_of(self.instance) if self.instance.pk else None
        if self._stored:
            self.fields["secrets"].initial = "\n".join(self._stored.secret_headers)
            lines = [f"{feed.slug}: {feed.expression}".removesuffix(": ") for feed in self._stored.feeds]
            self.fields["feeds"].initial = "\n".join(lines)

    def clean_headers(self) -> dict[str, str]:
        headers = self.cleaned_data["headers"] or {}
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            raise ValidationError('Write them as {"Name": "value"}.')
        return headers

    def keep(self) -> Any:
        given = {name: self.cleaned_data[name] for name in SOURCE_FIELDS}
        secrets = dict(_pairs(self.cleaned_data["secrets"]))
        draft = SourceDraft(**given, secret_headers=secrets, feeds=self._feeds())
        return change_source(self._stored.slug, draft) if self._stored else create_source(draft)

    def _feeds(self) -> tuple[FeedDraft, ...]:
        known = {feed.slug: feed for feed in self._stored.feeds} if self._stored else {}
        return tuple(
            replace(known.get(slug, FeedDraft(slug)), expression=expression or "")
            for slug, expression in _pairs(self.cleaned_data["feeds"])
        )


class TokenForm(ModelForm):  # type: ignore[type-arg]
    scopes = forms.MultipleChoiceField(choices=ApiToken.Scope.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = ApiToken
        fields = ("name", "scopes", "expires_at", "revoked")


class NewTokenForm(CatalogForm):
    scopes = forms.MultipleChoiceField(choices=ApiToken.Scope.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = ApiToken
        fields = ("name", "scopes", "expires_at")

    def keep(self) -> Any:
        return self.make(created_by=None)[0]

    def make(self, *, created_by: Any) -> tuple[ApiToken, str]:
        """The row and the token itself, which is nowhere else."""
        cleaned = self.cleaned_data
        return create_token(
            cleaned["name"], cleaned["scopes"], created_by=created_by, expires_at=cleaned["expires_at"]
        )


def _pairs(text: str) -> list[tuple[str, str | None]]:
    """`name: rest` lines; None where a line is a name alone."""
    pairs = []
    for line in text.splitlines():
        name, colon, rest = line.strip().partition(":")
        if name:
            pairs.append((name.strip(), rest.strip() if colon and rest.strip() else None))
    return pairs
