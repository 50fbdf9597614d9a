"""What went wrong on the wire, in words that a person can act on.

`httpx-aiohttp` 0.2 maps a lost connection to ConnectTimeout and lets other exceptions of aiohttp through
as they are, so the cause is read from aiohttp's exception and not from httpx's.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import httpx

from realtime.errors import BadResponse, FetchError, FetchTimeout

RETRY_AFTER_CAP_S = 86_400.0

_CONNECT_WORDS = {
    errno.ECONNREFUSED: "refused the connection",
    errno.ECONNRESET: "reset the connection",
    errno.EHOSTUNREACH: "cannot be reached: no route to the host",
    errno.ENETUNREACH: "cannot be reached: no route to the network",
    errno.ETIMEDOUT: "did not accept the connection in time",
}


def explain(error: Exception) -> FetchError:
    """The FetchError that says what this exception of httpx, aiohttp or the system means."""
    cause = error
    while cause.__cause__ is not None and not isinstance(cause, aiohttp.ClientError):
        if not isinstance(cause.__cause__, Exception):
            break
        cause = cause.__cause__
    match cause:
        case aiohttp.ClientConnectorDNSError():
            return FetchError(f"The name {cause.host} could not be resolved.", field="url")
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(cause.certificate_error, "verify_message", "") or "it does not match the host"
            return FetchError(f"The TLS certificate of {cause.host} is not trusted: {why}.")
        case aiohttp.ClientConnectorSSLError():
            return FetchError(
                f"{cause.host} port {cause.port} does not speak TLS as expected{_reason(cause)}."
            )
        case aiohttp.ClientConnectorError():
            return FetchError(f"{cause.host} port {cause.port} {_words(cause.os_error)}.")
        case TimeoutError() | httpx.TimeoutException():
            return FetchTimeout("The upstream took too long to answer.")
        case aiohttp.ClientPayloadError():
            return BadResponse("The answer broke off before its end.")
        case aiohttp.ClientResponseError():
            return BadResponse("The answer is not valid HTTP.")
        case aiohttp.ClientConnectionError() | OSError():
            return BadResponse("The connection was closed before the answer was complete.")
        case httpx.RemoteProtocolError() | httpx.InvalidURL():
            # httpx reads the Location of every redirect, whether it follows or not.
            return BadResponse("Redirected to something that is not a URL.")
        case aiohttp.InvalidURL():
            return FetchError("The URL cannot be requested.", field="url")
        case _:
            return FetchError(f"The request failed ({type(cause).__name__}).")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks to wait (a number or an HTTP date), 0 to a day. None: it asks nothing."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:10])
    else:
        try:
            moment = parsedate_to_datetime(text)
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), RETRY_AFTER_CAP_S)


def _words(error: OSError) -> str:
    if error.errno is None and isinstance(error, ConnectionError):  # asyncio's own, in a TLS handshake
        return "closed the connection before the TLS handshake was complete"
    return _CONNECT_WORDS.get(error.errno or 0, "could not be connected to")


def _reason(error: aiohttp.ClientConnectorError) -> str:
    reason = error.os_error.reason if isinstance(error.os_error, ssl.SSLError) else ""
    return f" ({reason.lower().replace('_', ' ')})" if reason else ""
