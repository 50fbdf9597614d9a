"""The protocol's messages: one table for both codecs, with the names of the JSON form and Protobuf's numbers.

A field is `name=number:kind`. A kind is a scalar, another message, `json` (a JSON value: itself in JSON, its
text in Protobuf's `bytes`), or a `list` or `map` of one of them; a map's keys are strings. Protobuf classes
are made of the table at import, in a pool of their own. Fields that are not here are ignored on the way in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_TABLE = """
Command
    id=1:uint32 connect=4:ConnectRequest subscribe=5:SubscribeRequest unsubscribe=6:ChannelRequest
    publish=7:PublishRequest presence=8:ChannelRequest presence_stats=9:ChannelRequest
    history=10:HistoryRequest ping=11:Empty send=12:SendRequest rpc=13:RpcRequest refresh=14:RefreshRequest
    sub_refresh=15:SubRefreshRequest
ConnectRequest
    token=1:string data=2:json subs=3:map(SubscribeRequest) name=4:string version=5:string
    headers=6:map(string) flag=7:int64
SubscribeRequest
    channel=1:string token=2:string recover=3:bool epoch=6:string offset=7:uint64 data=8:json
    positioned=9:bool recoverable=10:bool join_leave=11:bool delta=12:string tf=13:Empty flag=14:int64
    type=15:int32
ChannelRequest
    channel=1:string
PublishRequest
    channel=1:string data=2:json
HistoryRequest
    channel=1:string limit=7:int32 since=8:StreamPosition reverse=9:bool
StreamPosition
    offset=1:uint64 epoch=2:string
SendRequest
    data=1:json
RpcRequest
    data=1:json method=2:string
RefreshRequest
    token=1:string
SubRefreshRequest
    channel=1:string token=2:string
Empty
EmulationRequest
    node=1:string session=2:string data=3:json

Reply
    id=1:uint32 error=2:Error push=4:Push connect=5:ConnectResult subscribe=6:SubscribeResult
    unsubscribe=7:Empty publish=8:Empty presence=9:PresenceResult presence_stats=10:PresenceStatsResult
    history=11:HistoryResult ping=12:Empty rpc=13:Data refresh=14:RefreshResult sub_refresh=15:Expiry
Error
    code=1:uint32 message=2:string temporary=3:bool
Push
    id=1:int64 channel=2:string pub=4:Publication join=5:Info leave=6:Info unsubscribe=7:Unsubscribe
    message=8:Data subscribe=9:Subscribe connect=10:Connect disconnect=11:Disconnect refresh=12:Expiry
ConnectResult
    client=1:string version=2:string expires=3:bool ttl=4:uint32 data=5:json subs=6:map(SubscribeResult)
    ping=7:uint32 pong=8:bool session=9:string node=10:string time=11:int64
SubscribeResult
    expires=1:bool ttl=2:uint32 recoverable=3:bool epoch=6:string publications=7:list(Publication)
    recovered=8:bool offset=9:uint64 positioned=10:bool data=11:json was_recovering=12:bool delta=13:bool
Publication
    data=4:json info=5:ClientInfo offset=6:uint64 tags=7:map(string) delta=8:bool time=9:int64
    channel=10:string
ClientInfo
    user=1:string client=2:string conn_info=3:json chan_info=4:json
Info
    info=1:ClientInfo
PresenceResult
    presence=1:map(ClientInfo)
PresenceStatsResult
    num_clients=1:uint32 num_users=2:uint32
HistoryResult
    publications=1:list(Publication) epoch=2:string offset=3:uint64
Data
    data=1:json
RefreshResult
    client=1:string version=2:string expires=3:bool ttl=4:uint32
Expiry
    expires=1:bool ttl=2:uint32
Subscribe
    recoverable=1:bool epoch=4:string offset=5:uint64 positioned=6:bool data=7:json
Unsubscribe
    code=2:uint32 reason=3:string
Connect
    client=1:string version=2:string data=3:json subs=4:map(SubscribeResult) expires=5:bool ttl=6:uint32
    ping=7:uint32 pong=8:bool session=9:string node=10:string time=11:int64
Disconnect
    code=1:uint32 reason=2:string reconnect=3:bool
"""

# The whole numbers that a kind holds, both ends included.
INTEGERS = {
    "uint32": (0, 2**32 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint64": (0, 2**64 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
_SCALARS = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "string": FieldDescriptorProto.TYPE_STRING,
    "json": FieldDescriptorProto.TYPE_BYTES,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
    "int64": FieldDescriptorProto.TYPE_INT64,
}
_PACKAGE = "headwater.centrifuge"
_FIELD = re.compile(r"(\w+)=(\d+):(?:(list|map)\((\w+)\)|(\w+))")


@dataclass(frozen=True, slots=True)
class Field:
    """One field: of what `kind` it is, or its members are."""

    name: str
    number: int
    kind: str
    many: Literal["", "list", "map"]

    @property
    def is_message(self) -> bool:
        return self.kind not in _SCALARS


def _fields(table: str) -> Iterator[tuple[str, dict[str, Field]]]:
    for block in re.split(r"\n(?=\w)", table.strip()):
        name, _, rest = block.partition("\n")
        found = [
            Field(field, int(number), inner or kind, many)
            for field, number, many, inner, kind in _FIELD.findall(rest)
        ]
        yield name, {field.name: field for field in found}


def _classes(messages: Mapping[str, Mapping[str, Field]]) -> dict[str, type[Message]]:
    file = FileDescriptorProto(name="headwater/centrifuge.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field in fields.values():
            _describe(message, name, field)
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in messages}


def _describe(message: DescriptorProto, owner: str, field: Field) -> None:
    described = message.field.add(name=field.name, number=field.number)
    described.label = (
        FieldDescriptorProto.LABEL_REPEATED if field.many else FieldDescriptorProto.LABEL_OPTIONAL
    )
    if field.many != "map":
        _set_kind(described, field.kind)
        return
    # A map is a list of pairs whose message has this name and this mark (Protobuf's language guide, "Maps").
    pair = message.nested_type.add(name=field.name.title().replace("_", "") + "Entry")
    pair.options.map_entry = True
    _set_kind(pair.field.add(name="key", number=1, label=FieldDescriptorProto.LABEL_OPTIONAL), "string")
    _set_kind(pair.field.add(name="value", number=2, label=FieldDescriptorProto.LABEL_OPTIONAL), field.kind)
    described.type = FieldDescriptorProto.TYPE_MESSAGE
    described.type_name = f".{_PACKAGE}.{owner}.{pair.name}"


def _set_kind(described: FieldDescriptorProto, kind: str) -> None:
    if kind in _SCALARS:
        described.type = _SCALARS[kind]
    else:
        described.type = FieldDescriptorProto.TYPE_MESSAGE
        described.type_name = f".{_PACKAGE}.{kind}"


MESSAGES: dict[str, dict[str, Field]] = dict(_fields(_TABLE))
CLASSES: dict[str, Any] = _classes(MESSAGES)
METHODS = tuple(name for name in MESSAGES["Command"] if name != "id")
