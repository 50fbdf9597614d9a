"""What the names of channels say, and which namespaces there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from realtime.conf import Conf, Rules
from realtime.errors import BadInput, NotFound
from realtime.feeds import channels
from realtime.feeds.channels import channel_of_slug, find_channels, parse_name
from realtime.feeds.checks import is_slug
from tests.conftest import SetNamespaces


@pytest.mark.parametrize(
    ("text", "namespace", "slug", "private", "users"),
    [
        ("feed:lab", "feed", "lab", False, None),
        ("chat:room", "chat", "chat:room", False, None),
        ("chat:", "chat", "chat:", False, None),
        ("chat:a:b c@d/e", "chat", "chat:a:b c@d/e", False, None),
        ("news", "", ":news", False, None),
        ("$secret", "", ":$secret", True, None),
        ("$chat:secret", "chat", "$chat:secret", True, None),
        ("#42", "", ":#42", False, {"42"}),
        ("#auth:42", "", "#auth:42", False, {"auth:42"}),
        ("chat:two#1,2", "chat", "chat:two#1,2", False, {"1", "2"}),
        ("chat:a#b#3", "chat", "chat:a#b#3", False, {"3"}),
        ("$chat:two#1", "chat", "$chat:two#1", True, {"1"}),
        ("chat:none#", "chat", "chat:none#", False, set()),
        ("chat:none#,", "chat", "chat:none#,", False, set()),
        ("x" * 255, "", ":" + "x" * 255, False, None),
    ],
)
def test_a_name_says_its_namespace_and_who_may_come(
    set_namespaces: SetNamespaces,
    text: str,
    namespace: str,
    slug: str,
    private: bool,
    users: set[str] | None,
) -> None:
    set_namespaces(chat=Rules(presence=True), _=Rules())
    name = parse_name(text)
    assert (name.text, name.namespace, name.slug, name.private) == (text, namespace, slug, private)
    assert name.users == users
    assert (name.rules is None) == (namespace == "feed")
    if namespace == "chat":
        assert name.rules == Rules(presence=True)


@pytest.mark.parametrize(
    "text", ["", "x" * 256, 'chat:"', "chat:\\", "chat:ä", "chat:\n", "chat:\x00", "chat:\x7f"]
)
def test_what_no_channel_can_be_called_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_name(text)
    assert refused.value.field == "channel"
    assert find_channels([text]) == {}


@pytest.mark.parametrize(
    "text",
    ["news", "$secret", "#42", "room:1", "Chat:1", "feed:", "feed:No!", "feed:a#1", "$feed:a", ":chat"],
)
@pytest.mark.usefixtures("set_namespaces")
def test_a_name_without_a_namespace_is_unknown(text: str) -> None:
    with pytest.raises(NotFound) as unknown:
        parse_name(text)
    assert unknown.value.field == "channel"


@given(st.from_regex(r"\A\$?(?:(?:chat|feed|room)?:)?[ -\x80]{0,9}(?:#[ -\x80]{0,5})?\Z"))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        rules = {"": Rules(), "chat": Rules(history=True)}
        patch.setattr(channels, "conf", lambda: Conf().model_copy(update={"namespaces": rules}))
        try:
            name = parse_name(text)
        except (BadInput, NotFound):
            return
    assert name.text == text
    assert channel_of_slug(name.slug) == text
    assert is_slug(name.slug) == name.is_feed
    assert name.private == (text[0] == "$")
    assert (name.users is not None) == ("#" in text)
    assert name.rules == rules.get(name.namespace)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ("{", ["namespaces", "not JSON"]),
        ("[]", ["namespaces", "dictionary"]),
        ('{"chat": 7}', ["namespaces.chat"]),
        ('{"chat": {"history_size": 0}}', ["namespaces.chat.history_size", "greater than or equal to 1"]),
        ('{"chat": {"history_age_s": 0.5}}', ["namespaces.chat.history_age_s"]),
        ('{"chat": {"history_age_s": NaN}}', ["namespaces.chat.history_age_s"]),
        ('{"chat": {"publish": "all"}}', ["namespaces.chat.publish", "'nobody', 'subscribers' or 'users'"]),
        ('{"chat": {"histroy": true}}', ["namespaces.chat.histroy", "Unexpected"]),
        ('{"chat": {"join_leave": "asked"}}', ["namespaces.chat", "needs presence"]),
        ('{"feed": {}}', ["namespaces", "'feed' cannot be a namespace"]),
        ('{"a b": {}}', ["namespaces", "'a b' cannot be a namespace"]),
    ],
)
def test_a_wrong_namespace_stops_the_start_and_is_named(
    monkeypatch: pytest.MonkeyPatch, env: str, said: list[str]
) -> None:
    monkeypatch.setenv("HEADWATER_NAMESPACES", env)
    with pytest.raises(ValidationError) as stopped:
        Conf()
    for words in said:
        assert words in str(stopped.value)


def test_namespaces_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Conf().namespaces == {}
    monkeypatch.setenv("HEADWATER_NAMESPACES", '{"": {}, "chat": {"history": true, "mode": "cache"}}')
    assert Conf().namespaces == {"": Rules(), "chat": Rules(history=True, mode="cache")}
    monkeypatch.setenv("HEADWATER_NAMESPACES", "")
    assert Conf().namespaces == {}


def test_personal_channels_need_the_namespace_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_PERSONAL_CHANNELS", "true")
    with pytest.raises(ValidationError, match='personal_channels: put the namespace ""'):
        Conf()
    monkeypatch.setenv("HEADWATER_NAMESPACES", '{"": {}}')
    assert Conf().personal_channels
