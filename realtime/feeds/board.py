"""Which feeds the board shows, and in which order. How they look is the page's business."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.db.models.functions import Lower

from .catalog import OPENED_KINDS
from .models import Feed

# One connection watches them, which may have 128 channels; a few are for what else is live on the page.
TILES_PER_PAGE = 120
SEARCH_LIMIT = 100


def on_the_board(*, private: bool, search: str) -> QuerySet[Feed]:
    """The feeds that the board shows, in order: all, or the public ones alone; `search` as in the catalog.

    What is opened by clients, channels and live queries, is not shown.
    """
    feeds = Feed.objects.exclude(kind__in=OPENED_KINDS)
    if not private:
        feeds = feeds.filter(public=True)
    if search:
        feeds = feeds.filter(Q(title__icontains=search) | Q(slug__icontains=search))
    return feeds.order_by(Lower("title"), "slug")
