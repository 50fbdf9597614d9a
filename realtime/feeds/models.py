"""The rows of this room: feeds, their journal, and the tokens that open the doors."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from .position import new_epoch

SLUG_FORM = RegexValidator(
    r"^[a-z0-9](?:[a-z0-9_-]{0,98}[a-z0-9])?\Z",
    "Use 1 to 100 lower-case letters, digits, hyphens and underscores, a letter or digit at both ends.",
)
SLUG_LIMIT = 256  # a channel's name has 255 characters, and may stand behind a colon


class Feed(models.Model):
    """A named JSON value that changes over time: its position, its health, and who may read it."""

    class Kind(models.TextChoices):
        SOURCE = "source", "filled by a source"
        PUSH = "push", "published by other programs"
        CHANNEL = "channel", "opened by SDK clients"
        QUERY = "query", "filled by a live query"

    class Recovery(models.TextChoices):
        STREAM = "stream", "every publication that it missed"
        CACHE = "cache", "the newest value"

    class State(models.TextChoices):
        FRESH = "fresh", "fresh"
        STALE = "stale", "stale"
        FAILING = "failing", "failing"
        PAUSED = "paused", "paused"

    # SLUG_FORM, but for channels and live queries: their slug is their name. The catalogs check it.
    slug = models.CharField(max_length=SLUG_LIMIT, unique=True)
    title = models.CharField(max_length=200)
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.PUSH)
    public = models.BooleanField(default=False, help_text="Anybody may read it, without an account.")
    latest_only = models.BooleanField(
        default=False, help_text="A reader who falls behind skips to the newest value."
    )
    # For SDK clients. Defaults in the database too, so that processes of the release before may add feeds.
    presence = models.BooleanField(
        default=False, db_default=False, help_text="Who is subscribed is kept, and shown to subscribers."
    )
    join_leave = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Subscribers may ask who comes and goes. Needs presence.",
    )
    client_publish = models.BooleanField(
        default=False, db_default=False, help_text="Subscribers may publish. For push feeds only."
    )
    recovery = models.CharField(
        max_length=6,
        choices=Recovery,
        default=Recovery.STREAM,
        db_default=Recovery.STREAM,
        help_text="What an SDK client gets when it comes back.",
    )
    retention_count = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Publications kept; empty: the site's setting.",
    )
    retention_age_s = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Seconds kept; empty: the site's setting.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Of channels only; see `channels`.
    used_at = models.DateTimeField(null=True, editable=False)

    # Position. Only the store writes these.
    epoch = models.CharField(max_length=16, default=new_epoch, editable=False)
    offset = models.BigIntegerField(default=0, editable=False)
    digest = models.CharField(max_length=64, blank=True, editable=False)

    # Health. Only the store writes these.
    state = models.CharField(max_length=8, choices=State, default=State.FRESH, editable=False)
    status_rev = models.BigIntegerField(default=0, editable=False)
    last_ok_at = models.DateTimeField(null=True, editable=False)
    next_poll_at = models.DateTimeField(null=True, editable=False)
    error = models.CharField(max_length=500, blank=True, editable=False)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class Demand(models.Model):
    """That a feed is filled only while somebody watches it, until when somebody does, and who fills it.

    base           feeds of the same base are filled together, by one engine: see `queries.names`
    engine         who fills it until `claimed_until`; empty: nobody
    kept           it has been filled since it was claimed, so that its value is the present one
    evaluations    how often it was evaluated, ever
    unheard        how often an interval's re-check found a change that nothing had told of
    duration_ms    of the last evaluation
    reason         why it fails, in full; for staff
    """

    feed = models.OneToOneField(Feed, on_delete=models.CASCADE, primary_key=True, related_name="demand")
    base = models.CharField(max_length=SLUG_LIMIT, db_index=True)
    wanted_until = models.DateTimeField(db_index=True)
    engine = models.CharField(max_length=64, blank=True, default="", db_index=True)
    claimed_until = models.DateTimeField(null=True)
    kept = models.BooleanField(default=False)
    evaluations = models.BigIntegerField(default=0)
    unheard = models.BigIntegerField(default=0)
    duration_ms = models.FloatField(null=True)
    reason = models.TextField(blank=True, default="")

    class Meta:
        verbose_name = "live query"
        verbose_name_plural = "live queries"
        ordering = ["feed_id"]

    def __str__(self) -> str:
        return self.base


class JournalEntry(models.Model):
    """A committed publication. Written once, never changed, trimmed by age and count."""

    id = models.BigAutoField(primary_key=True)
    feed = models.ForeignKey(Feed, on_delete=models.CASCADE, related_name="entries")
    offset = models.BigIntegerField()
    published_at = models.DateTimeField()
    data = models.TextField()
    # JSON texts as `Publication` has them. Defaults in the database, so that processes of the release before
    # may write while the others are being replaced.
    info = models.TextField(blank=True, default="", db_default="")
    tags = models.TextField(blank=True, default="", db_default="")

    class Meta:
        verbose_name_plural = "journal entries"
        ordering = ["feed_id", "offset"]
        constraints = [models.UniqueConstraint(fields=["feed", "offset"], name="one_entry_per_offset")]
        indexes = [models.Index(fields=["feed", "published_at"], name="entry_by_time")]

    def __str__(self) -> str:
        return f"{self.feed_id}:{self.offset}"


class IdempotencyKey(models.Model):
    """A publication that was asked for under a key, and where it is. Forgotten after five minutes."""

    id = models.BigAutoField(primary_key=True)
    feed = models.ForeignKey(Feed, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64)
    epoch = models.CharField(max_length=16)
    offset = models.BigIntegerField()
    made_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["feed", "digest"], name="one_position_per_key")]

    def __str__(self) -> str:
        return f"{self.feed_id}:{self.digest[:8]}"


class ApiToken(models.Model):
    """A credential for programs. Only its digest is kept; the token itself is shown once, when it is made."""

    class Scope(models.TextChoices):
        READ = "read", "read every feed"
        PUBLISH = "publish", "publish to push feeds"
        MANAGE = "manage", "create, change and delete feeds and sources"

    name = models.CharField(max_length=100, unique=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=12, editable=False, help_text="The token's first characters.")
    scopes = models.JSONField(default=list)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="api_tokens"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked = models.BooleanField(default=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
