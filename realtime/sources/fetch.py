"""One HTTP request to an upstream, from the URL to the bytes: the only door out of the house.

Bounded in time (redirects and body included), in bytes (raw, counted while they arrive) and in hops, and
each hop goes through the guard. Refuses content encodings, so that what is counted is what is stored; keeps
no cookies; reads no proxy settings or `.netrc`. Messages say what happened, and never hold a header's value
or a query string, because they are shown to watchers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import MappingProxyType

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from realtime.errors import (
    AddressRefused,
    BadInput,
    BadResponse,
    BadStatus,
    FetchTimeout,
    ResponseTooLarge,
    TooManyRedirects,
)

from .fetch_errors import explain, retry_after_s
from .guard import DEFAULT_PORTS, AllowedNetworks, GuardedResolver, guarded_socket
from .request_headers import check_headers

USER_AGENT = "Headwater"
MAX_REDIRECTS = 5
BODY_LIMIT_BYTES = 1_000_000
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PERMANENT = frozenset({301, 308})
# A connection is given back or dropped without waiting for a peer that does not take our body.
_CLOSE_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask. `headers` may hold secrets; `etag` and `last_modified` come from the last good answer.

    A GET has no body, whatever `body` says. A POST's is JSON unless `headers` has a Content-Type.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    body: str = field(default="", repr=False)
    timeout_s: float = 10.0
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """A good answer: a 2xx, or a 304 to a conditional request (`not_modified`, then `body` is empty).

    `url` is where the redirects ended. `etag` and `last_modified` belong into the next request; they are
    empty after a temporary redirect, because the next one may lead to something else.
    """

    url: str
    status: int
    content_type: str
    body: bytes = field(repr=False)
    etag: str
    last_modified: str
    not_modified: bool
    duration_ms: float


@dataclass(frozen=True, slots=True)
class _Hop:
    """One request of a chain. `url` has passed the guard; `same_resource`: no temporary redirect so far."""

    url: httpx.URL
    method: str
    headers: Mapping[str, str]
    body: bytes
    same_resource: bool = True


class Fetcher:
    """Requests over one pool of connections, for one event loop. Close it with `aclose`.

    networks      where requests may go
    limit_bytes   largest body
    transport     replaces the network in tests; the guard's look at names is then not taken
    """

    def __init__(
        self,
        networks: AllowedNetworks,
        *,
        limit_bytes: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._networks = networks
        self._limit_bytes = limit_bytes
        self._client = httpx.AsyncClient(
            transport=transport or _guarded_transport(networks),
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
            headers={"user-agent": USER_AGENT, "accept-encoding": "identity"},
            timeout=None,  # noqa: S113 - `fetch` sets one limit around everything
            trust_env=False,
        )

    async def fetch(self, request: Request) -> Response:
        """The whole answer within `timeout_s`.

        Raises BadInput for a URL, headers or body that cannot be sent, naming the field, and FetchError's
        subclasses for everything else; BadStatus carries what the answer's Retry-After asks for.
        """
        check_headers(request.headers)
        started = time.perf_counter()
        body = _encoded(request.body) if request.method == "POST" else b""
        first = _Hop(self._networks.check_url(request.url), request.method, request.headers, body)
        try:
            async with asyncio.timeout(request.timeout_s):
                return await self._follow(request, first, started)
        except TimeoutError:
            raise FetchTimeout(f"No complete answer within {request.timeout_s:g} s.") from None
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, ValueError) as error:
            raise explain(error) from error

    async def aclose(self) -> None:
        """Close all connections; requests under way fail."""
        await self._client.aclose()

    async def _follow(self, request: Request, hop: _Hop, started: float) -> Response:
        seen = {(hop.method, hop.url)}
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._send(request, hop)
            try:
                if answer.status_code not in _REDIRECTS:
                    return await self._read(request, hop, answer, started)
                hop = self._redirected(hop, answer)
            finally:
                await _close(answer)
            if (hop.method, hop.url) in seen:
                raise TooManyRedirects("The redirects lead in a circle.")
            seen.add((hop.method, hop.url))
        raise TooManyRedirects(f"More than {MAX_REDIRECTS} redirects.")

    async def _send(self, request: Request, hop: _Hop) -> httpx.Response:
        headers = httpx.Headers(dict(hop.headers))
        if hop.body and "content-type" not in headers:
            headers["content-type"] = "application/json"
        if request.etag:
            headers["if-none-match"] = request.etag
        if request.last_modified:
            headers["if-modified-since"] = request.last_modified
        return await self._client.send(
            self._client.build_request(hop.method, hop.url, headers=headers, content=hop.body or None),
            stream=True,
        )

    async def _read(self, request: Request, hop: _Hop, answer: httpx.Response, started: float) -> Response:
        status = answer.status_code
        not_modified = status == HTTPStatus.NOT_MODIFIED and bool(request.etag or request.last_modified)
        if not (answer.is_success or not_modified):
            raise BadStatus(
                status, f"Answered {_named(status)}.", retry_after_s=retry_after_s(answer.headers)
            )
        body = b"" if not_modified else await self._body(answer)
        etag = _validator(answer.headers.get("etag", ""), 500)
        last_modified = _validator(answer.headers.get("last-modified", ""), 100)
        if not_modified:
            etag, last_modified = etag or request.etag, last_modified or request.last_modified
        if not hop.same_resource:
            etag = last_modified = ""
        return Response(
            url=str(hop.url),
            status=status,
            content_type=answer.headers.get("content-type", ""),
            body=body,
            etag=etag,
            last_modified=last_modified,
            not_modified=not_modified,
            duration_ms=(time.perf_counter() - started) * 1000,
        )

    async def _body(self, answer: httpx.Response) -> bytes:
        encoding = answer.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            raise BadResponse(
                f"The answer is compressed ({encoding[:20]}), though plain bytes were asked for."
            )
        too_large = ResponseTooLarge(f"The answer is larger than {self._limit_bytes:,} bytes.")
        if _declared_length(answer) > self._limit_bytes:
            raise too_large
        body = bytearray()
        async for chunk in answer.aiter_bytes():  # raw bytes, as there is no encoding
            body += chunk
            if len(body) > self._limit_bytes:
                raise too_large
        return bytes(body)

    def _redirected(self, hop: _Hop, answer: httpx.Response) -> _Hop:
        """The next hop. Another origin gets none of the request's own headers but the body's type."""
        status = answer.status_code
        location = answer.headers.get("location", "")
        if not location:
            raise BadResponse(f"Answered {_named(status)} without a Location to go to.")
        try:
            url = self._networks.check_url(str(hop.url.join(location)))
        except (BadInput, AddressRefused) as error:
            raise AddressRefused(
                f"Redirected to where no request may go: {error.message}", field="url"
            ) from None
        except (httpx.InvalidURL, ValueError):
            raise BadResponse(f"Answered {_named(status)} with a Location that is not a URL.") from None
        next_hop = replace(hop, url=url, same_resource=hop.same_resource and status in _PERMANENT)
        if hop.method != "GET" and status in (301, 302, 303):
            next_hop = replace(
                next_hop, method="GET", body=b"", headers=_without(hop.headers, "content-type")
            )
        if _origin(url) != _origin(hop.url):
            next_hop = replace(next_hop, headers=_only(next_hop.headers, "content-type"))
        return next_hop


def _guarded_transport(networks: AllowedNetworks) -> AiohttpTransport:
    """aiohttp's pool behind httpx's API, resolving and connecting through the guard."""
    tls = httpx.create_ssl_context()

    def session() -> aiohttp.ClientSession:
        # Called at the first request, on the loop that the pool then belongs to. No limit of connections:
        # the poller bounds them, and a wait in here would count as the upstream's time.
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(networks),
            socket_factory=partial(guarded_socket, networks),
            ssl=tls,
            limit=0,
        )
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False
        )

    return AiohttpTransport(client=session, verify=tls)


def _encoded(body: str) -> bytes:
    try:
        encoded = body.encode()
    except UnicodeEncodeError:
        raise BadInput("The request's body holds half of a surrogate pair.", field="body") from None
    if len(encoded) > BODY_LIMIT_BYTES:
        raise BadInput(f"The request's body has more than {BODY_LIMIT_BYTES:,} bytes.", field="body")
    return encoded


async def _close(answer: httpx.Response) -> None:
    with suppress(httpx.HTTPError, aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await answer.aclose()


def _declared_length(answer: httpx.Response) -> int:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _validator(value: str, limit: int) -> str:
    """A validator that can be sent back as it is; empty when it is too long or not plain ASCII."""
    return value if len(value) <= limit and value.isascii() and value.isprintable() else ""


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or DEFAULT_PORTS[url.scheme]


def _without(headers: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() != name}


def _only(headers: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() == name}


def _named(status: int) -> str:
    """The status with its registered name: the upstream's own phrase may say anything."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
