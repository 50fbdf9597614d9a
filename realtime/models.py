"""Where Django looks for the models of every room."""

from realtime.feeds.models import ApiToken, Demand, Feed, IdempotencyKey, JournalEntry
from realtime.sources.models import EngineSeen, Extraction, Source

__all__ = [
    "ApiToken",
    "Demand",
    "EngineSeen",
    "Extraction",
    "Feed",
    "IdempotencyKey",
    "JournalEntry",
    "Source",
]
