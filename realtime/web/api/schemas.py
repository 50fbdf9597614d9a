"""What goes in and out as JSON, for the OpenAPI document and the checks of types.

Types only: JSON's own, nothing converted, unknown names refused. What a value must be beyond its type is
checked by the catalogs, for the pages and commands as well.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from realtime.feeds.position import MAX_OFFSET
from realtime.feeds.publication import State


class Input(BaseModel):
    """A body: JSON types taken as they are."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Page(BaseModel):
    """Which part of a list."""

    search: str = Field("", max_length=200, description="Found in names and titles, whatever the case.")
    limit: int = Field(100, ge=1, le=1000)
    skip: int = Field(0, ge=0, le=1_000_000)


class FeedPageQuery(Page):
    kind: Literal["", "source", "push", "channel", "query"] = Field(
        "", description="Channels and live queries are shown only when they are asked for."
    )


class HistoryQuery(BaseModel):
    limit: int = Field(100, ge=1, le=1000)
    since: str = Field("", description="A position as <epoch>:<offset>: what came after it.")
    before: int | None = Field(None, ge=1, le=MAX_OFFSET, description="An offset: what came before it.")
    start: str = Field("", description="ISO 8601 with time zone; inclusive.")
    end: str = Field("", description="ISO 8601 with time zone; exclusive.")


class FeedChange(Input):
    title: str = Field("", description="Empty: the slug.")
    public: bool = Field(False, description="Readable by everybody, without an account.")
    latest_only: bool = Field(False, description="A reader who falls behind skips to the newest value.")
    presence: bool = Field(False, description="SDK clients see who else is subscribed.")
    join_leave: bool = Field(False, description="SDK clients may ask who comes and goes; needs presence.")
    client_publish: bool = Field(False, description="SDK clients may publish. For push feeds only.")
    recovery: str = Field(
        "stream", description="What an SDK client gets when it comes back: stream (all missed) or cache."
    )
    retention_count: int | None = Field(None, description="Publications kept; null: the site's setting.")
    retention_age_s: float | None = Field(None, description="Seconds kept; null: the site's setting.")


class FeedIn(FeedChange):
    slug: str = Field(description="1 to 100 of a-z, 0-9, - and _, a letter or digit at both ends.")


class PublishIn(Input):
    data: Any = Field(description="The value: any JSON.")


class SourceFeedIn(Input):
    slug: str
    title: str = ""
    expression: str = Field("", description="JMESPath; empty takes the whole answer.")
    public: bool = False


class SourceChange(Input):
    """Fields that are left out stay as they are."""

    slug: str = ""
    url: str = ""
    title: str = ""
    method: str = Field("GET", description="GET or POST.")
    body: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    secret_headers: dict[str, str | None] = Field(
        default_factory=dict, description="Never shown again. null keeps the stored value."
    )
    interval_s: float = Field(60, description="1 to 86400.")
    timeout_s: float = Field(10, description="0.1 to 300.")
    format: str = Field("json", description="json, csv, feed, prometheus or text.")
    enabled: bool = True
    feeds: list[SourceFeedIn] = Field(default_factory=list, description="All feeds that one poll fills.")


class SourceIn(SourceChange):
    slug: str
    url: str


class SourceTrial(SourceChange):
    """As for a new source; only the URL is needed."""

    url: str


class Status(BaseModel):
    state: State
    last_ok_at: str | None
    next_poll_at: str | None
    error: str


class FeedOut(BaseModel):
    slug: str
    title: str
    kind: str
    public: bool
    latest_only: bool
    presence: bool
    join_leave: bool
    client_publish: bool
    recovery: str
    retention_count: int | None
    retention_age_s: float | None
    epoch: str
    offset: int
    status: Status


class FeedPage(BaseModel):
    feeds: list[FeedOut]
    total: int


class FeedHead(FeedOut):
    """A feed with its newest publication, but for the value itself."""

    published_at: str | None


class FeedValue(FeedHead):
    data: Any


class PublicationOut(BaseModel):
    offset: int
    published_at: str
    data: Any


class HistoryHead(BaseModel):
    """Where the feed stands. `reset`: `since` means nothing any more, these are the newest instead."""

    slug: str
    epoch: str
    offset: int
    reset: bool


class History(HistoryHead):
    publications: list[PublicationOut]


class PositionOut(BaseModel):
    epoch: str
    offset: int


class SourceOut(BaseModel):
    slug: str
    url: str
    title: str
    method: str
    body: str
    headers: dict[str, str]
    secret_headers: dict[str, None]
    interval_s: float
    timeout_s: float
    format: str
    enabled: bool
    feeds: list[SourceFeedIn]
    next_poll_at: str | None
    last_polled_at: str | None
    last_duration_ms: float | None
    failures: int
    last_error: str


class SourcePage(BaseModel):
    sources: list[SourceOut]
    total: int


class TrialHead(BaseModel):
    """What one request brought. `status` null: no answer came. `problems`: by field, what went wrong."""

    url: str
    status: int | None
    content_type: str
    duration_ms: float
    size_bytes: int
    excerpt: str
    problems: dict[str, str]


class TrialOut(TrialHead):
    values: list[Any]
    document: Any


class Due(BaseModel):
    next_poll_at: str


class ErrorDetail(BaseModel):
    code: Literal[
        "bad_input",
        "bad_position",
        "not_signed_in",
        "not_allowed",
        "not_found",
        "conflict",
        "too_large",
        "method_not_allowed",
        "unavailable",
        "internal",
    ]
    message: str
    field: str | None = None


class ErrorOut(BaseModel):
    error: ErrorDetail
