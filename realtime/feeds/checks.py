"""What is wrong with a name, a text or a number that is to be kept: one rule each, for all catalogs."""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from django.core.exceptions import ValidationError

from realtime.conf import LONGEST_RETENTION_S, MOST_RETAINED

from .models import SLUG_FORM, SLUG_LIMIT

TITLE_LIMIT = 200
# These would be hidden behind pages of the same address.
RESERVED_SLUGS = frozenset({"new"})

# Control characters other than tab and line ends, and halves of surrogate pairs: no database keeps them all.
_NAME = re.compile(rf"[\x20\x21\x23-\x5b\x5d-\x7e]{{1,{SLUG_LIMIT}}}")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def is_slug(text: str) -> bool:
    """Whether a feed or source could have this name at all."""
    try:
        SLUG_FORM(text)
    except ValidationError:
        return False
    return True


def is_name(text: str) -> bool:
    """Whether a feed of any kind could have this name: for all but channels, a slug.

    Printable ASCII without `"` and `\\`, so that names need no escaping in JSON.
    """
    return _NAME.fullmatch(text) is not None


def is_printable(text: str) -> bool:
    """Whether every database keeps this text as it is."""
    return _UNPRINTABLE.search(text) is None


def check_slug(
    slug: str, problems: dict[str, str], *, field: str = "slug", reserved: Collection[str] = RESERVED_SLUGS
) -> None:
    """Note under `field` what is wrong with a name that is to become part of an address."""
    if not is_slug(slug):
        problems[field] = str(SLUG_FORM.message)
    elif slug in reserved:
        problems[field] = f"The name {slug} is an address of its own here. Choose another."


def check_text(text: str, problems: dict[str, str], *, field: str, limit: int) -> None:
    """Note under `field` what no database keeps: too many characters, or some that cannot be printed."""
    if len(text) > limit:
        problems[field] = f"At most {limit:,} characters; these are {len(text):,}."
    elif not is_printable(text):
        problems[field] = "Contains characters that cannot be printed."


def check_retention(count: int | None, age_s: float | None, problems: dict[str, str]) -> None:
    """Note what is wrong with the publications or seconds to be kept; None, the site's, never is."""
    if count is not None and not 1 <= count <= MOST_RETAINED:
        problems["retention_count"] = (
            f"Give a number of publications from 1 to {MOST_RETAINED:,}, or nothing."
        )
    if age_s is not None and not (math.isfinite(age_s) and 1 <= age_s <= LONGEST_RETENTION_S):
        problems["retention_age_s"] = f"Give seconds from 1 to {LONGEST_RETENTION_S:,.0f}, or nothing."
