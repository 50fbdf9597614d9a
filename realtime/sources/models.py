"""The rows of this room: what to poll, and which value of the answer fills which feed."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from realtime.feeds.models import SLUG_FORM, Feed

from .secret_field import EncryptedJSONField


class Source(models.Model):
    """An external HTTP endpoint: how to ask it, how often, and where it stands in its schedule."""

    class Method(models.TextChoices):
        GET = "GET", "GET"
        POST = "POST", "POST"

    class Format(models.TextChoices):
        JSON = "json", "JSON"
        CSV = "csv", "CSV with a header row"
        FEED = "feed", "RSS or Atom"
        PROMETHEUS = "prometheus", "Prometheus text"
        TEXT = "text", "plain text"

    slug = models.CharField(max_length=100, unique=True, validators=[SLUG_FORM])
    title = models.CharField(max_length=200)
    url = models.CharField(max_length=2000)
    method = models.CharField(max_length=4, choices=Method, default=Method.GET)
    body = models.TextField(blank=True)
    headers = models.JSONField(default=dict, blank=True)
    secret_headers = EncryptedJSONField(default=dict, blank=True, editable=False)
    interval_s = models.FloatField(default=60, validators=[MinValueValidator(1), MaxValueValidator(86_400)])
    timeout_s = models.FloatField(default=10, validators=[MinValueValidator(0.1), MaxValueValidator(300)])
    format = models.CharField(max_length=10, choices=Format, default=Format.JSON)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    # Schedule. Only the poller and the functions in `schedule` write these.
    next_poll_at = models.DateTimeField(null=True, editable=False)
    claimed_until = models.DateTimeField(null=True, editable=False)
    claimed_by = models.CharField(max_length=64, blank=True, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False)
    etag = models.CharField(max_length=500, blank=True, editable=False)
    last_modified = models.CharField(max_length=100, blank=True, editable=False)
    last_polled_at = models.DateTimeField(null=True, editable=False)
    last_duration_ms = models.FloatField(null=True, editable=False)
    last_error = models.CharField(max_length=500, blank=True, editable=False)

    class Meta:
        ordering = ["slug"]
        indexes = [models.Index(fields=["enabled", "next_poll_at"], name="source_due")]

    def __str__(self) -> str:
        return self.slug


class Extraction(models.Model):
    """Which value of a source's answer fills which feed: a JMESPath expression; empty takes all of it."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="extractions")
    feed = models.OneToOneField(Feed, on_delete=models.CASCADE, related_name="extraction")
    expression = models.CharField(max_length=1000, blank=True)

    class Meta:
        ordering = ["source_id", "feed_id"]

    def __str__(self) -> str:
        return f"{self.source_id} → {self.feed_id}"


class EngineSeen(models.Model):
    """The last sign of life of an engine; `/readyz` and the stale check read it."""

    name = models.CharField(max_length=64, unique=True)
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "engines seen"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
