"""Where a request may go, for every way to write an address."""

from __future__ import annotations

import socket
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import aiohttp
import aiohttp.abc
import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import AddressRefused, BadInput
from realtime.sources.guard import AllowedNetworks, GuardedResolver, guarded_socket

CLOSED = AllowedNetworks()

PRIVATE_4 = """
0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16 169.254.169.254
172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1
203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
"""
PRIVATE_6 = """
:: ::1 ::7f00:1 100::1 64:ff9b:1::1 2001::1 2001:db8::1 2001:0:7f00:1:: 2002:7f00:1:: 2002:a9fe:a9fe::1
3fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fd20:ce::254 fe80::1 fec0::1 ff02::1
"""
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001:80b::200e"]


@pytest.mark.parametrize("text", PRIVATE_4.split())
def test_a_private_ipv4_address_is_refused_also_inside_ipv6(text: str) -> None:
    number = int(IPv4Address(text))
    for form in (text, f"::ffff:{text}", f"64:ff9b::{text}"):
        assert not CLOSED.permits(ip_address(form), 80), form
    assert not CLOSED.permits(IPv6Address((0x2002 << 112) | (number << 80)), 80)
    assert not CLOSED.permits(IPv6Address((0x20010000 << 96) | (number ^ 0xFFFFFFFF)), 80)


@pytest.mark.parametrize("text", PRIVATE_6.split())
def test_an_ipv6_address_that_is_not_global_is_refused(text: str) -> None:
    assert not CLOSED.permits(ip_address(text), 443)
    with pytest.raises(AddressRefused) as caught:
        CLOSED.check_url(f"http://[{text}]/")
    assert caught.value.field == "url"


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_permitted(text: str) -> None:
    assert CLOSED.permits(ip_address(text), 443)
    CLOSED.check_url(f"https://[{text}]/x" if ":" in text else f"https://{text}/x")
    if "." in text:
        assert CLOSED.permits(ip_address(f"::ffff:{text}"), 443)
        assert CLOSED.permits(ip_address(f"64:ff9b::{text}"), 443)


@given(st.ip_addresses())
def test_nothing_that_python_calls_local_is_permitted(address: IPv4Address | IPv6Address) -> None:
    local = (
        address.is_loopback
        or address.is_private
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
    )
    nat64 = isinstance(address, IPv6Address) and address in IPv6Network("64:ff9b::/96")
    if local and not nat64 and getattr(address, "ipv4_mapped", None) is None:
        assert not CLOSED.permits(address, 80)


def _octets(address: IPv4Address) -> list[int]:
    return list(address.packed)


NOTATIONS = [
    str,
    lambda a: f"{a}.",
    lambda a: f"{a}..",
    lambda a: str(int(a)),
    lambda a: hex(int(a)),
    lambda a: f"0{int(a):o}",
    lambda a: ".".join(hex(o) for o in _octets(a)),
    lambda a: ".".join(f"0{o:o}" for o in _octets(a)),
    lambda a: ".".join(f"{o:03d}" for o in _octets(a)),
    lambda a: f"{_octets(a)[0]}.{int(a) & 0xFFFFFF}",
    lambda a: f"{_octets(a)[0]}.{_octets(a)[1]}.{int(a) & 0xFFFF}",
    lambda a: f"{_octets(a)[0]}.0x{int(a) & 0xFFFFFF:X}.",
    lambda a: str(a).replace(".", "。"),
    lambda a: str(a).replace(".", "%2e"),
    lambda a: str(a).translate({ord(str(d)): chr(0xFF10 + d) for d in range(10)}),
    lambda a: f"[::ffff:{a}]",
    lambda a: f"[::{a}]",
    lambda a: f"[64:ff9b::{a}]",
    lambda a: f"[::ffff:{a}%25eth0]",
    lambda a: f"[{IPv6Address((0x2002 << 112) | (int(a) << 80))}]",
    lambda a: f"x@{a}",
    lambda a: f"x:y@{a}",
    lambda a: f"1.1.1.1@{a}",
    lambda a: f"1.1.1.1\\@{a}",
    lambda a: f"{a}\\@1.1.1.1",
    lambda a: f" {a}",
    lambda a: f"{a}\t",
    lambda a: f"{a}\x00.example.com",
]


@given(
    st.sampled_from([IPv4Network(f"{n}/8") for n in ("10.0.0.0", "127.0.0.0", "0.0.0.0")]).flatmap(
        lambda network: st.ip_addresses(network=network)
    ),
    st.sampled_from(NOTATIONS),
    st.sampled_from(["", ":80", ":8080", "/", "/path?x=1"]),
)
def test_no_notation_of_a_private_address_passes_as_a_url(address: Any, notation: Any, rest: str) -> None:
    with pytest.raises((AddressRefused, BadInput)) as caught:
        CLOSED.check_url(f"http://{notation(address)}{rest}")
    assert caught.value.field == "url"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "db.localhost", "xn--", "a_b.example", "example.com."]
)
def test_names_of_this_machine_are_refused_before_any_look_up_and_others_are_left_to_it(host: str) -> None:
    if "localhost" in host.lower():
        with pytest.raises(AddressRefused):
            CLOSED.check_url(f"http://{host}/")
    else:
        assert CLOSED.check_url(f"http://{host}/").raw_host.decode() == host


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "needed"),
        ("example.com", "http://"),
        ("/path", "http://"),
        ("ftp://example.com/", "http://"),
        ("file:///etc/passwd", "http://"),
        ("gopher://example.com", "http://"),
        ("javascript:alert(1)", "http://"),
        ("http://", "no host"),
        ("http:///x", "no host"),
        ("http://user:pass@example.com/", "user name or password"),
        ("http://example.com:0/", "port"),
        ("http://example.com:65536/", "port"),
        ("http://example.com:x/", "not a URL"),
        ("http://exa mple.com/", "blank"),
        ("http://example.com/\r\nX: y", "blank"),
        ("http://example.com/\x00", "blank"),
        ("http://example.com/\ud800", "blank"),
        ("http://[::1", "not a URL"),
        ("http://[fe80::1%25eth0]/", "zone"),
        ("http://a..b/", "name or an address"),
        ("http://" + "a" * 64 + ".com/", "name or an address"),
        ("http://exa%6dple.com/", "name or an address"),
        ("http://127.1/", "four decimal numbers"),
        ("http://example.com/" + "a" * 2000, "2,000"),
    ],
)  # fmt: skip
def test_a_bad_url_is_refused_in_words_that_name_the_field(url: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        CLOSED.check_url(url)
    assert caught.value.field == "url"


@given(st.text(max_size=60).map(lambda text: f"http://{text}") | st.text(max_size=60))
def test_any_text_is_a_url_with_a_host_or_a_clear_error(text: str) -> None:
    try:
        parsed = AllowedNetworks().check_url(text)
    except (BadInput, AddressRefused):
        return
    assert parsed.scheme in ("http", "https")
    assert parsed.raw_host


def test_an_opened_network_is_open_for_its_port_and_no_other() -> None:
    networks = AllowedNetworks.parse(
        ["127.0.0.1/32:8000", "10.0.0.0/8", "[fd00::/8]:8080", "[fd12::1]/128", "192.168.1.5"]
    )
    permitted = [
        ("127.0.0.1", 8000),
        ("::ffff:127.0.0.1", 8000),
        ("10.9.9.9", 1),
        ("fd00::1", 8080),
        ("fd12::1", 1),
    ]
    refused = [
        ("127.0.0.1", 8001),
        ("127.0.0.2", 8000),
        ("fd00::1", 80),
        ("::1", 8000),
        ("192.168.1.6", 80),
        ("fe80::1", 8080),
    ]
    assert all(networks.permits(ip_address(address), port) for address, port in permitted)
    assert not any(networks.permits(ip_address(address), port) for address, port in refused)
    networks.check_url("http://localhost:8000/demo")
    networks.check_url("http://[fd00::1]:8080/")
    with pytest.raises(AddressRefused, match="HEADWATER_ALLOWED_NETWORKS"):
        networks.check_url("http://127.0.0.1:8001/")
    with pytest.raises(AddressRefused):
        networks.check_url("https://127.0.0.1/")


@pytest.mark.parametrize(
    "entry",
    [
        *("", "*", "localhost", "http://10.0.0.1", "::1", "10.0.0/8", "10.0.0.0/33", "10.0.0.1/8"),
        *("10.0.0.0/8:0", "10.0.0.0/8:65536", "10.0.0.0/8:http"),
        *("[fd00::/8", "fd00::/129", "fe80::1%eth0/64", "[[fd00::]]/8"),
    ],
)
def test_a_network_that_cannot_be_read_stops_the_start_with_the_setting_and_the_entry(entry: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        AllowedNetworks.parse(["10.0.0.0/8", entry])
    assert "HEADWATER_ALLOWED_NETWORKS" in str(caught.value)
    assert repr(entry) in str(caught.value)


class Names(aiohttp.abc.AbstractResolver):
    """Look-ups that answer from a list, a later one differently: what a rebinding attacker does."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.lookups = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        found = self.answers[min(self.lookups, len(self.answers) - 1)]
        self.lookups += 1
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
            for address in found
        ]

    async def close(self) -> None:
        pass


async def test_the_resolver_returns_only_permitted_addresses() -> None:
    resolver = GuardedResolver(CLOSED, Names(["10.0.0.1", "1.1.1.1", "::1", "fe80::1%lo", "2606:4700::1111"]))
    assert [one["host"] for one in await resolver.resolve("mixed.example", 80)] == [
        "1.1.1.1",
        "2606:4700::1111",
    ]


async def test_a_name_that_leads_inside_only_is_refused_without_telling_the_address() -> None:
    resolver = GuardedResolver(CLOSED, Names(["10.20.30.40", "169.254.169.254"]))
    with pytest.raises(AddressRefused, match=r"intern\.example") as caught:
        await resolver.resolve("intern.example", 80)
    assert "10.20" not in caught.value.message


async def test_a_name_without_addresses_is_a_failed_look_up() -> None:
    with pytest.raises(OSError, match="No address"):
        await GuardedResolver(CLOSED, Names([])).resolve("empty.example", 80)


async def test_the_real_resolver_refuses_other_notations_of_loopback() -> None:
    resolver = GuardedResolver(CLOSED)
    for host in ("localhost", "0x7f.1", "2130706433", "0177.0.0.1"):
        with pytest.raises(AddressRefused):
            await resolver.resolve(host, 80)
    await resolver.close()


def test_no_socket_is_made_for_an_address_that_is_not_permitted() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    with pytest.raises(AddressRefused):
        guarded_socket(CLOSED, info)
    guarded_socket(AllowedNetworks.parse(["127.0.0.1/32:80"]), info).close()


async def test_a_literal_that_slips_past_the_url_check_is_refused_at_the_connection() -> None:
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(CLOSED), socket_factory=partial(guarded_socket, CLOSED)
    )
    async with aiohttp.ClientSession(connector=connector) as session:
        for host in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"):
            with pytest.raises(AddressRefused):
                await session.get(f"http://{host}:9/")
