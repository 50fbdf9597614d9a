"""Whatever bytes somebody sends: commands, or the end of that connection by the table; never a traceback."""

from __future__ import annotations

import json
from typing import Any

import pytest
from centrifuge.codecs import _JsonCodec as SdkJson
from centrifuge.codecs import _ProtobufCodec as SdkProtobuf
from hypothesis import example, given
from hypothesis import strategies as st

from realtime.delivery.centrifuge.codec import Codec
from realtime.delivery.centrifuge.json_codec import CODEC as JSON
from realtime.delivery.centrifuge.protobuf_codec import CODEC as PROTOBUF
from realtime.delivery.centrifuge.protocol import Disconnect
from realtime.delivery.centrifuge.schema import METHODS

from .messages import commands, json_values, plain, sent


@given(st.binary() | st.text())
@example(b"\x80" * 11)
@example("[" * 60_000)
@example('{"id":1,"rpc":{"data":' + "[" * 5000 + "]" * 5000 + "}}")
@example('{"id":' + "9" * 5000 + "}")
@example('{"id":1,"rpc":{"data":1e999}}')
def test_any_frame_is_commands_or_ends_the_connection(frame: str | bytes) -> None:
    for codec in (JSON, PROTOBUF):
        check_decoding(codec, frame)


def check_decoding(codec: Codec[Any], frame: str | bytes) -> None:
    try:
        found = codec.decode(frame)
    except Disconnect as error:
        end = error
    else:
        assert found
        assert all(command is None or command.id or command.method == "send" for command in found)
        return
    assert end.code == 3501
    assert end.reason.startswith("bad request: ")


@given(st.sampled_from(METHODS), json_values)
def test_any_value_as_a_request_is_a_command_or_ends_the_connection(method: str, value: Any) -> None:
    check_decoding(JSON, json.dumps({"id": 1, method: value}))


@given(commands(), st.data())
def test_a_frame_with_a_wrong_byte_is_commands_or_ends_the_connection(
    command: dict[str, Any], data: st.DataObject
) -> None:
    frame = bytearray(SdkProtobuf.encode_commands([sent(command)]))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    check_decoding(PROTOBUF, bytes(frame))
    text = bytearray(SdkJson.encode_commands([plain(command)]).encode())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    check_decoding(JSON, bytes(text))


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        ("", "an empty frame"),
        ("\n \n", "an empty frame"),
        ("nonsense", "not JSON"),
        ("[]", "a command: give an object"),
        ('{"id":1,"connect":{}}\n{', "not JSON"),
        (b'{"id":1,"rpc":{"method":"\xff"}}', "not UTF-8"),
        ('{"connect":{}}', "connect needs an id"),
        ('{"id":0,"ping":{}}', "ping needs an id"),
        ('{"id":1,"connect":{},"ping":{}}', "one method at a time, not connect and ping"),
        ('{"id":1,"connect":[]}', "connect: give an object"),
        ('{"id":1,"connect":{"token":7}}', "connect.token: give a string"),
        ('{"id":1,"connect":{"token":"\\ud800"}}', "connect.token: holds half of a surrogate pair"),
        ('{"id":1,"connect":{"headers":{"\\ud800":""}}}', "connect.headers: holds half of a surrogate pair"),
        ('{"id":1,"connect":{"headers":{"a":1}}}', "connect.headers: give a string"),
        ('{"id":1,"connect":{"headers":[]}}', "connect.headers: give an object"),
        ('{"id":1,"connect":{"subs":{"a":{"recover":1}}}}', "connect.subs.recover: give true or false"),
        ('{"id":true}', "id: give a whole number from 0 to 4294967295"),
        ('{"id":-1}', "id: give a whole number from 0 to 4294967295"),
        ('{"id":4294967296}', "id: give a whole number from 0 to 4294967295"),
        ('{"id":1.0}', "id: give a whole number from 0 to 4294967295"),
        ('{"id":"1"}', "id: give a whole number from 0 to 4294967295"),
        ('{"id":1,"history":{"since":{"offset":-1}}}', "history.since.offset: give a whole number from 0 to"),
    ],
)
def test_a_bad_json_frame_names_what_is_wrong(frame: str | bytes, why: str) -> None:
    with pytest.raises(Disconnect) as end:
        JSON.decode(frame)
    assert end.value.reason.startswith(f"bad request: {why}")


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"", "an empty frame"),
        ("text", "Protobuf travels in binary messages"),
        (b"\x80", "a length is cut off"),
        (b"\xff\xff\xff\xff\xff\x01", "a length that is too large"),
        (b"\x02\x08", "a message is cut off"),
        (b"\x01\x08", "not a message of this protocol"),
        (b"\x04\x22\x02\x0a\x00", "connect needs an id"),
        (b"\x06\x08\x01\x22\x00\x5a\x00", "one method at a time, not connect and ping"),
    ],
)
def test_a_bad_protobuf_frame_names_what_is_wrong(frame: str | bytes, why: str) -> None:
    with pytest.raises(Disconnect) as end:
        PROTOBUF.decode(frame)
    assert end.value.reason == f"bad request: {why}"
