"""Both codecs against the official Python SDK's own."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from centrifuge.codecs import _JsonCodec as SdkJson
from centrifuge.codecs import _ProtobufCodec as SdkProtobuf
from centrifuge.codecs import _varint_decode
from centrifuge.protocol import client_pb2
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.delivery.centrifuge.codec import Command, Raw
from realtime.delivery.centrifuge.json_codec import CODEC as JSON
from realtime.delivery.centrifuge.protobuf_codec import CODEC as PROTOBUF
from realtime.delivery.centrifuge.schema import CLASSES

from .messages import NEWER, commands, messages, plain, sent

REPLIES = st.lists(messages("Reply"), min_size=1, max_size=3)


def expected(command: dict[str, Any]) -> Command:
    number, (method, params) = command["id"], next(pair for pair in command.items() if pair[0] != "id")
    return Command(number, method, params)


def test_our_numbers_and_kinds_are_those_of_the_sdks_schema() -> None:
    seen: set[str] = set()

    def compare(ours: Any, theirs: Any) -> None:
        for name, field in ours.fields_by_name.items():
            if (ours.name, name) in NEWER:
                assert name not in theirs.fields_by_name
                continue
            other = theirs.fields_by_name[name]
            assert (field.number, field.type, field.is_repeated) == (
                *(other.number, other.type),
                other.is_repeated,
            ), other.full_name
            if field.message_type is not None and other.full_name not in seen:
                seen.add(other.full_name)
                compare(field.message_type, other.message_type)

    for root in ("Command", "Reply"):
        compare(CLASSES[root].DESCRIPTOR, client_pb2.DESCRIPTOR.message_types_by_name[root])
    assert len(seen) > 40


@settings(max_examples=50)
@given(REPLIES)
def test_the_sdk_reads_every_json_reply(replies: list[dict[str, Any]]) -> None:
    frame = JSON.join([JSON.encode(reply) for reply in replies])
    assert frame.count("\n") == len(replies) - 1
    assert SdkJson.decode_replies(frame) == [plain(reply) for reply in replies]


@settings(max_examples=50)
@given(REPLIES)
def test_the_sdk_reads_every_protobuf_reply(replies: list[dict[str, Any]]) -> None:
    frame = PROTOBUF.join([PROTOBUF.encode(reply) for reply in replies])
    heard = SdkProtobuf.decode_replies(frame)
    assert heard == [MessageToDict(same(reply), preserving_proto_field_name=True) for reply in replies]


def same(reply: dict[str, Any]) -> Any:
    """The reply in the SDK's own message class."""

    def filled(value: Any) -> Any:
        if isinstance(value, Raw):
            return value.encode()
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        return value

    return client_pb2.Reply(**filled(reply))


@given(st.lists(commands(), min_size=1, max_size=3))
def test_commands_arrive_from_the_sdk_as_they_were_sent(given_commands: list[dict[str, Any]]) -> None:
    wanted = [expected(command) for command in given_commands]
    assert JSON.decode(SdkJson.encode_commands([plain(command) for command in given_commands])) == wanted
    assert (
        PROTOBUF.decode(SdkProtobuf.encode_commands([sent(command) for command in given_commands])) == wanted
    )


@settings(max_examples=50)
@given(messages("Push"))
def test_a_bare_push_is_the_reply_without_its_wrapping(push: dict[str, Any]) -> None:
    assert JSON.encode({"push": push}) == '{"push":' + JSON.encode_push(push) + "}"
    bare, wrapped = PROTOBUF.encode_push(push), PROTOBUF.encode({"push": push})
    assert (
        CLASSES["Push"].FromString(undelimited(bare))
        == CLASSES["Reply"].FromString(undelimited(wrapped)).push
    )


def undelimited(payload: bytes) -> bytes:
    size, start = _varint_decode(payload, 0)
    assert start + size == len(payload)
    return payload[start:]


def test_what_is_unknown_null_or_empty_is_absent() -> None:
    frame = (
        '{"id":1,"connect":{"token":null,"data":null,"name":"","flag":0,"subs":{},"new":{"a":1}},"ping":null}'
    )
    assert JSON.decode(frame) == [Command(1, "connect", {"data": "null"})]
    assert JSON.decode('{"id":3,"history":{"since":{}}}') == [Command(3, "history", {"since": {}})]
    unknown = client_pb2.Command(id=1).SerializeToString() + b"\xfa\x06\x01x"
    assert PROTOBUF.decode(bytes([len(unknown)]) + unknown) == [Command(1, "", {})]
    assert JSON.decode('{"id":1,"teleport":{}}') == [Command(1, "", {})]


def test_pings_and_pongs_are_empty_messages() -> None:
    assert (JSON.encode({}), PROTOBUF.encode({})) == ("{}", b"\x00")
    assert JSON.decode('{}\n{"send":{"data":1}}') == [None, Command(0, "send", {"data": "1"})]
    assert PROTOBUF.decode(b"\x00\x00") == [None, None]


def test_json_values_are_compact_on_the_way_in() -> None:
    [command] = JSON.decode('{"id":1,"publish":{"channel":"a","data":{ "\\u00e9" : [1, 2.50] }}}')
    assert command is not None
    assert command.params["data"] == '{"é":[1,2.5]}'
    assert type(command.params["data"]) is Raw


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b'{ "a" : "\xc3\xa9" }', '{ "a" : "é" }'),
        (b'{\n"a": "\\n"\r}', '{"a":"\\n"}'),
        (b'"\\ud83d\\ude00"', '"\\ud83d\\ude00"'),
    ],
)
def test_protobuf_payloads_are_kept_as_sent_unless_they_have_several_lines(data: bytes, kept: str) -> None:
    body = client_pb2.Command(id=1, publish={"channel": "a", "data": data}).SerializeToString()
    [command] = PROTOBUF.decode(bytes([len(body)]) + body)
    assert command == Command(1, "publish", {"channel": "a", "data": kept})


@pytest.mark.parametrize(
    "data", [b"plain text", b"\xff", b"NaN", b'"\\ud800"', b'{"a":"\n"}', b"1 2", b"\xff\xfe1\0"]
)
def test_a_payload_that_is_not_json_fails_its_command_only(data: bytes) -> None:
    body = client_pb2.Command(id=1, publish={"channel": "a", "data": data}).SerializeToString()
    [command] = PROTOBUF.decode(bytes([len(body)]) + body)
    assert command is not None
    assert (command.id, command.method, command.params) == (1, "publish", {"channel": "a"})
    assert command.error is not None
    assert command.error.code == 107
    assert command.error.message.startswith("data: ")


def test_half_a_surrogate_pair_in_a_json_payload_fails_its_command_only() -> None:
    bad, good = JSON.decode('{"id":1,"publish":{"channel":"a","data":"\\ud800"}}\n{"id":2,"ping":{}}')
    assert bad is not None
    assert bad.error is not None
    assert bad.error.code == 107
    assert good == Command(2, "ping", {})


def test_a_results_object_is_there_even_when_it_is_empty() -> None:
    reply = {"id": 3, "unsubscribe": {}}
    assert JSON.encode(reply) == '{"id":3,"unsubscribe":{}}'
    assert SdkProtobuf.decode_replies(PROTOBUF.encode(reply)) == [reply]


def test_zero_false_and_empty_are_left_out() -> None:
    push = {"push": {"channel": "a", "pub": {"data": Raw("0"), "offset": 0, "delta": False, "info": Raw("")}}}
    assert JSON.encode(push) == '{"push":{"channel":"a","pub":{"data":0}}}'
    assert SdkProtobuf.decode_replies(PROTOBUF.encode(push)) == [
        {"push": {"channel": "a", "pub": {"data": base64.b64encode(b"0").decode()}}}
    ]


def test_what_a_publication_was_kept_with_may_be_json_text() -> None:
    info, tags = Raw('{"user":"42","client":"c","conn_info":{"a":1}}'), Raw('{"de":"é"}')
    push = {"push": {"channel": "a", "pub": {"data": Raw("1"), "info": info, "tags": tags}}}
    assert json.loads(JSON.encode(push))["push"]["pub"] == {
        "data": 1,
        "info": json.loads(info),
        "tags": {"de": "é"},
    }
    pub = CLASSES["Reply"].FromString(PROTOBUF.encode(push)[1:]).push.pub
    assert (pub.info.user, pub.info.client, pub.info.conn_info) == ("42", "c", b'{"a":1}')
    assert dict(pub.tags) == {"de": "é"}


def test_no_line_break_of_a_value_gets_between_the_lines_of_a_frame() -> None:
    assert JSON.encode({"id": 1, "rpc": {"data": Raw('{\n"a":\r1}')}}) == '{"id":1,"rpc":{"data":{ "a": 1}}}'


@given(st.text())
def test_packed_text_is_a_string_in_json_and_itself_in_protobuf(text: str) -> None:
    packed = JSON.pack(text.encode())
    assert "\n" not in packed
    assert json.loads(packed) == text
    assert PROTOBUF.pack(text.encode()) == text.encode()
