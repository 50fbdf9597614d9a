"""Feeds that are opened when somebody asks for them, and filled only while somebody watches.

Their names begin with a prefix and a colon, as `query:open-orders?customer=42`. The room that fills them says
who may read them and what their one true name is: it registers an `Opener`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .access import Principal

# A process says every `WANTED_AGAIN_S` what is watched there; after `WANTED_S` of silence, nobody watches it.
WANTED_S = 15.0
WANTED_AGAIN_S = 5.0
# Engines are in this group of the layer: what is wanted, and what Django's signals say of rows.
ENGINES = "engines"
WANTED_SIGNAL = "query.wanted"


@dataclass(frozen=True, slots=True)
class Opened:
    """What an opener says of a name.

    slug     the feed's name, one for all that means the same: parameters in order, defaults left out
    base     see `models.Demand`
    title    for pages
    public   anybody may read it
    """

    slug: str
    base: str
    title: str
    public: bool


class Opener(Protocol):
    """Knows the feeds behind one prefix."""

    def resolve(self, name: str, principal: Principal) -> Opened:
        """What that name means for somebody who may read it. Sync; may read the database.

        Raises BadInput naming a parameter (`params.customer`), and NotFound where there is no such query and
        where `principal` may not read it, alike.
        """


_openers: dict[str, Opener] = {}


def register_opener(prefix: str, opener: Opener) -> None:
    """Have `opener` asked about names that begin with this prefix and a colon."""
    _openers[prefix] = opener


def opener_of(name: str) -> Opener | None:
    """Who knows this name; None: it is no feed of that sort."""
    return _openers.get(name.partition(":")[0]) if ":" in name else None
