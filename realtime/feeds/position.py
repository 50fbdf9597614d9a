"""Where a watcher stands in a feed: `(epoch, offset)`.

Offsets count 1, 2, 3… without holes within an epoch. A new epoch means that the stream was reborn and that
older offsets mean nothing in it.
"""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass

from realtime.errors import BadPosition

EPOCH_LENGTH = 8
MAX_OFFSET = 2**63 - 1
_ALPHABET = string.ascii_letters + string.digits
_FORM = re.compile(r"([A-Za-z0-9_-]{1,16}):(0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """`epoch`: 1 to 16 URL-safe characters; `offset`: 0 (before the first publication) to 2⁶³ - 1."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


def parse_position(text: str, *, field: str = "since") -> Position:
    """Read `<epoch>:<offset>`; raises BadPosition, naming `field`, for anything else."""
    match = _FORM.fullmatch(text)
    if match is None or int(match[2]) > MAX_OFFSET:
        raise BadPosition(
            f"{field}: give a position as <epoch>:<offset>, as it came with a message (say a1B2c3D4:17).",
            field=field,
        )
    return Position(match[1], int(match[2]))


def new_epoch() -> str:
    """A fresh epoch: 47 random bits, so that no two lives of a stream are ever taken for one another.

    Letters and digits only: with a hyphen in front, a command line would take a position for an option.
    """
    return "".join(secrets.choice(_ALPHABET) for _ in range(EPOCH_LENGTH))
