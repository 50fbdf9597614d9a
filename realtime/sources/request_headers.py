"""Which headers a source may send: any, but those that belong to the connection or to the fetcher."""

from __future__ import annotations

import re
from collections.abc import Mapping

from realtime.errors import BadInput

COUNT_LIMIT = 50
VALUE_LIMIT = 4096

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e]*", re.ASCII)

_OURS = frozenset(
    {
        # The connection's own (RFC 9110, 7.6.1), and what frames a message.
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade", "content-length", "expect", "host"),
        # What `fetch` sets or forbids itself.
        *("accept-encoding", "content-encoding", "if-match", "if-modified-since", "if-none-match"),
        *("if-range", "if-unmodified-since", "range"),
    }
)


def check_headers(headers: Mapping[str, str], *, field: str = "headers") -> None:
    """Pass if all can be sent as they are. Raises BadInput naming `field`, with no value in the message."""
    if len(headers) > COUNT_LIMIT:
        raise BadInput(f"{field}: more than {COUNT_LIMIT} headers.", field=field)
    seen: set[str] = set()
    for name, value in headers.items():
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise BadInput(
                f"{field}: {str(name)[:40]!r} is not a header name: letters, digits and hyphens.", field=field
            )
        if name.lower() in _OURS:
            raise BadInput(f"{field}: {name} is set by Headwater itself and cannot be given.", field=field)
        if name.lower() in seen:
            raise BadInput(f"{field}: {name} is given twice.", field=field)
        seen.add(name.lower())
        if not isinstance(value, str) or _VALUE.fullmatch(value) is None:
            raise BadInput(
                f"{field}: the value of {name} must be plain ASCII text without line breaks.", field=field
            )
        if len(value) > VALUE_LIMIT:
            raise BadInput(
                f"{field}: the value of {name} has more than {VALUE_LIMIT:,} characters.", field=field
            )
