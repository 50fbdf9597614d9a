"""Where a request may go: the public internet, and the private networks that the operator has named.

Three places ask: `check_url` before each hop (address literals never reach a resolver), `GuardedResolver`
when a name is looked up (the connector connects to exactly the addresses that it returns, so there is no
second look-up in between), and `guarded_socket` for the very address that is about to be connected.

Refuses what is not public by the IANA registries, in IPv4 and IPv6, also when an IPv4 address is carried
inside an IPv6 one, and the cloud metadata addresses. The table is our own because Python's `is_private`
changed its mind between patch releases.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import aiohttp.abc
import aiohttp.resolver
import httpx
from django.core.exceptions import ImproperlyConfigured

from realtime.errors import AddressRefused, BadInput

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SETTING = "HEADWATER_ALLOWED_NETWORKS"
URL_LIMIT = 2000
DEFAULT_PORTS = {"http": 80, "https": 443}

# IANA IPv4 special-purpose registry, multicast, reserved, and one metadata address in public space.
_NOT_PUBLIC_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata address
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's wire server
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata address
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# All global unicast IPv6 is in 2000::/3; these parts of it are not the public internet.
_GLOBAL_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments; Teredo carries an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries an IPv4 address
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")

_NAME = re.compile(r"(?=.{1,253}\.?$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.ASCII)
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
# `10.0.0.0/8`, `10.0.0.0/8:80`, `[fd00::/8]:80`, `[fd00::]/8:80`, `fd00::/8`
_ENTRY = re.compile(
    r"(?P<net>[0-9.]+(?:/\d+)?|\[[0-9a-f:.]+\](?:/\d+)?|\[[0-9a-f:.]+/\d+\]|[0-9a-f:.]+/\d+)(?::(?P<port>\d+))?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Opening:
    """One network that the operator has opened, for one port or for all (None)."""

    network: Network
    port: int | None

    def covers(self, address: Address, port: int) -> bool:
        return (
            address.version == self.network.version and address in self.network and self.port in (None, port)
        )


@dataclass(frozen=True, slots=True)
class AllowedNetworks:
    """The rule of where requests may go. `AllowedNetworks()` is the public internet alone."""

    openings: tuple[_Opening, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> AllowedNetworks:
        """From the setting: `10.0.0.0/8`, or `127.0.0.1/32:8000` and `[fd00::/8]:8000` for one port.

        Raises ImproperlyConfigured naming the setting and the entry.
        """
        return cls(tuple(_opening(entry.strip()) for entry in entries))

    def permits(self, address: Address, port: int) -> bool:
        """May a connection be opened to this address and port?"""
        meant = _carried_ipv4(address) or address
        if _is_public(meant):
            return True
        return any(o.covers(address, port) or o.covers(meant, port) for o in self.openings)

    def check_url(self, url: str) -> httpx.URL:
        """The URL, parsed, if it is http(s) and its host is a name or a permitted address.

        A name says nothing yet about where it leads: the resolver judges that. Raises BadInput or
        AddressRefused, both naming the field `url`.
        """
        parsed = _parse(url)
        host = parsed.raw_host.decode("ascii")
        port = parsed.port or DEFAULT_PORTS[parsed.scheme]
        address = _literal(host)
        if address is None and not _is_localhost(host):
            return parsed
        possible: list[Address] = [address] if address else [IPv4Address("127.0.0.1"), IPv6Address("::1")]
        if not any(self.permits(one, port) for one in possible):
            raise AddressRefused(
                f"{host} port {port} is a private or reserved address, and {SETTING} does not open it.",
                field="url",
            )
        return parsed


class GuardedResolver(aiohttp.abc.AbstractResolver):
    """Look-ups that return permitted addresses only. AddressRefused when a name has no other."""

    def __init__(self, networks: AllowedNetworks, inner: aiohttp.abc.AbstractResolver | None = None) -> None:
        self._networks = networks
        self._inner = inner or aiohttp.resolver.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        permitted = [one for one in found if self._networks.permits(ip_address(one["host"]), port)]
        if not found:
            raise OSError(f"No address for {host}")
        if not permitted:
            raise AddressRefused(
                f"The name {host} leads to a private or reserved address, and {SETTING} does not open it "
                f"for port {port}.",
                field="url",
            )
        return permitted

    async def close(self) -> None:
        await self._inner.close()


def guarded_socket(networks: AllowedNetworks, info: tuple[Any, ...]) -> socket.socket:
    """A socket for this `getaddrinfo` row, if its address is permitted: the last look before connecting.

    It covers what the other two cannot: a host that two URL parsers read differently.
    """
    family, kind, proto, _, where = info
    address, port = where[0], where[1]
    if not networks.permits(ip_address(address), port):
        raise AddressRefused(
            f"{address} port {port} is a private or reserved address, and {SETTING} does not open it.",
            field="url",
        )
    return socket.socket(family, kind, proto)


def _opening(entry: str) -> _Opening:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise ImproperlyConfigured(
            f"{SETTING}: {entry!r} is not a network. Write 10.0.0.0/8, or 127.0.0.1/32:8000 or "
            f"[fd00::/8]:8000 for one port."
        )
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65535:
        raise ImproperlyConfigured(f"{SETTING}: {entry!r} has a port outside of 1 to 65535.")
    try:
        return _Opening(ip_network(match["net"].replace("[", "").replace("]", "")), port)
    except ValueError as error:
        raise ImproperlyConfigured(f"{SETTING}: {entry!r} is not a network ({error}).") from None


def _carried_ipv4(address: Address) -> IPv4Address | None:
    """The IPv4 address that a mapped or NAT64 one stands for: the kernel or the gateway goes there."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    return address in _GLOBAL_6 and not any(address in network for network in _NOT_PUBLIC_6)


def _parse(url: str) -> httpx.URL:
    if not url:
        raise BadInput("A URL is needed.", field="url")
    if len(url) > URL_LIMIT:
        raise BadInput(f"The URL has more than {URL_LIMIT:,} characters.", field="url")
    if "\\" in url or any(mark.isspace() or not mark.isprintable() for mark in url):
        raise BadInput("The URL has a blank, a backslash or an unprintable character in it.", field="url")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise BadInput(f"This is not a URL ({error}).", field="url") from None
    if parsed.scheme not in DEFAULT_PORTS:
        raise BadInput("The URL must begin with http:// or https://.", field="url")
    if parsed.userinfo:
        raise BadInput(
            "The URL holds a user name or password; put them into an Authorization header.", field="url"
        )
    if not parsed.raw_host:
        raise BadInput("The URL has no host.", field="url")
    if parsed.port is not None and not 1 <= parsed.port <= 65535:
        raise BadInput("The URL's port must be from 1 to 65535.", field="url")
    return parsed


def _literal(host: str) -> Address | None:
    """The address that the host spells out, None for a name. Raises BadInput for anything else.

    A host whose last label is a number is an IPv4 address, as in the URL Standard; of its many notations
    (octal, hexadecimal, short, with a trailing dot) only four decimal numbers are taken.
    """
    if ":" in host:
        try:
            address = IPv6Address(host)
        except ValueError:
            address = None
        if address is None or address.scope_id is not None:
            raise BadInput("The URL's host is not an IPv6 address without a zone.", field="url")
        return address
    if _NAME.fullmatch(host) is None:
        raise BadInput("The URL's host is not a name or an address.", field="url")
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is None:
        return None
    try:
        return IPv4Address(host)
    except ValueError:
        raise BadInput(
            "Write the address in the URL as four decimal numbers, like 198.51.100.7.", field="url"
        ) from None


def _is_localhost(host: str) -> bool:
    name = host.rstrip(".")
    return name == "localhost" or name.endswith(".localhost")
