"""What clients may do without a token for the channel: one row for each rule and kind of channel."""

from __future__ import annotations

import pytest

from realtime.conf import Rules
from realtime.delivery.centrifuge.identity import Identity, may_publish, may_subscribe
from realtime.feeds.access import ANONYMOUS, MEMBER_SCOPES, STAFF_SCOPES, Principal
from realtime.feeds.channels import parse_name
from tests.conftest import SetNamespaces

NOBODY = Identity("", ANONYMOUS)
MIA = Identity("mia", ANONYMOUS)  # by a token of somebody else's back end
MEMBER = Identity("7", Principal("user", 7, "ana", MEMBER_SCOPES))
STAFF = Identity("1", Principal("user", 1, "root", STAFF_SCOPES))


@pytest.mark.parametrize(
    ("text", "subscribe", "allowed"),
    [
        ("chat:1", "token", []),
        ("chat:1", "users", [MIA, MEMBER, STAFF]),
        ("chat:1", "anybody", [NOBODY, MIA, MEMBER, STAFF]),
        ("$chat:1", "anybody", []),
        ("chat:1#mia,7", "anybody", [MIA, MEMBER]),
        ("chat:1#", "anybody", []),
        ("feed:lab", "anybody", [NOBODY, MIA, MEMBER, STAFF]),
        ("feed:lab", "token", [MEMBER, STAFF]),
    ],
)
def test_who_may_subscribe(
    set_namespaces: SetNamespaces, text: str, subscribe: str, allowed: list[Identity]
) -> None:
    set_namespaces(chat=Rules())
    rules = Rules(subscribe=subscribe)  # type: ignore[arg-type]
    everybody = [NOBODY, MIA, MEMBER, STAFF]
    assert [each for each in everybody if may_subscribe(each, parse_name(text), rules)] == allowed


@pytest.mark.parametrize(
    ("text", "publish", "inside", "outside"),
    [
        ("chat:1", "nobody", [STAFF], [STAFF]),
        ("chat:1", "subscribers", [NOBODY, MIA, MEMBER, STAFF], [STAFF]),
        ("chat:1", "users", [MIA, MEMBER, STAFF], [MIA, MEMBER, STAFF]),
        ("$chat:1", "users", [NOBODY, MIA, MEMBER, STAFF], [STAFF]),
        ("chat:1#mia", "users", [NOBODY, MIA, MEMBER, STAFF], [STAFF]),
    ],
)
def test_who_may_publish(
    set_namespaces: SetNamespaces,
    text: str,
    publish: str,
    inside: list[Identity],
    outside: list[Identity],
) -> None:
    set_namespaces(chat=Rules())
    rules = Rules(publish=publish)  # type: ignore[arg-type]
    everybody = [NOBODY, MIA, MEMBER, STAFF]
    for subscribed, allowed in ((True, inside), (False, outside)):
        found = [
            each for each in everybody if may_publish(each, parse_name(text), rules, subscribed=subscribed)
        ]
        assert found == allowed
