"""Public keys that are read from a URL (JWKS), in a thread, and kept.

They are read anew every ten minutes and when a token names a key that is not among them, but never more often
than every ten seconds, whatever tokens somebody sends. When that fails, those that were read before go on.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable

import httpx

from realtime.errors import BadInput, Unavailable
from realtime.feeds.publication import decode_data

from .keys import Key, key_of_jwk

logger = logging.getLogger(__name__)

KEPT_S = 600.0
FLOOR_S = 10.0
TIMEOUT_S = 5.0
LIMIT_BYTES = 256 * 1024


class Unreadable(Exception):
    """The URL did not answer with keys, in time and within the size."""


class Jwks:
    """The keys at one URL, which the operator chose: private networks are not refused, redirects are.

    Raises ValueError for a URL that is not one of HTTP. `transport` and `now` are seams for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("give an address that begins with https:// or http://")
        self._url = url
        self._transport = transport
        self._now = now
        self._keys: tuple[Key, ...] | None = None
        self._read_at = self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def keys(self, kid: str) -> tuple[Key, ...]:
        """All keys; read before, unless they are too old or `kid` is given and not among them.

        Waits for at most five seconds, and not at all for keys that are only too old. Raises Unavailable when
        none could ever be read.
        """
        unknown = self._keys is None or (kid != "" and all(key.kid != kid for key in self._keys))
        if unknown or self._now() - self._read_at > KEPT_S:
            self._begin()
        if unknown and self._reading is not None:
            # Shared by all who wait: one of them who leaves does not end it.
            await asyncio.shield(self._reading)
        if self._keys is None:
            raise Unavailable("The keys that tokens are checked with cannot be read now. Try again.")
        return self._keys

    async def aclose(self) -> None:
        """End what is being read."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def _begin(self) -> None:
        if self._reading is None and self._now() - self._tried_at >= FLOOR_S:
            self._tried_at = self._now()
            self._reading = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                self._keys = await asyncio.to_thread(_read, self._url, self._transport)
            self._read_at = self._now()
        except (Unreadable, TimeoutError) as error:
            logger.warning("jwks_unreadable host=%s: %s", httpx.URL(self._url).host, str(error) or "time-out")
        finally:
            self._reading = None


def _read(url: str, transport: httpx.BaseTransport | None) -> tuple[Key, ...]:
    deadline = time.monotonic() + TIMEOUT_S
    body = bytearray()
    try:
        with (
            httpx.Client(
                transport=transport,
                verify=ssl.create_default_context(),
                timeout=TIMEOUT_S,
                trust_env=False,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            ) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise Unreadable(f"status {response.status_code}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise Unreadable("encoded, although that was not asked for")
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > LIMIT_BYTES or time.monotonic() > deadline:
                    raise Unreadable("too large or too slow")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreadable(type(error).__name__) from error
    try:
        found = decode_data(body.decode())
        keys = [key_of_jwk(jwk) for jwk in found["keys"]]
    except (BadInput, UnicodeDecodeError, TypeError, KeyError):
        raise Unreadable("not a JWKS") from None
    return tuple(key for key in keys if key is not None)
