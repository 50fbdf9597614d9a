"""The stock pattern, as Channels' tutorial has it: each socket joins a group, and a group is sent to."""

from __future__ import annotations

import os
from typing import Any

import django
from django.conf import settings

KIND = {
    "core": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}


def layers(kind: str, url: str) -> dict[str, Any]:
    """The layer's settings; the time-outs keep redis-py 8 from closing idle consumers of the core layer."""
    host = {"address": url, "socket_timeout": 30}
    return {"default": {"BACKEND": KIND[kind], "CONFIG": {"hosts": [host]}}}


if "STOCK_LAYER" in os.environ:
    settings.configure(
        SECRET_KEY="benchmark",
        INSTALLED_APPS=["channels"],
        CHANNEL_LAYERS=layers(os.environ["STOCK_LAYER"], os.environ["REDIS_URL"]),
    )
    django.setup()

    from channels.generic.websocket import AsyncWebsocketConsumer

    class Member(AsyncWebsocketConsumer):  # type: ignore[misc]
        async def connect(self) -> None:
            await self.channel_layer.group_add("x", self.channel_name)
            await self.accept()

        async def disconnect(self, code: int) -> None:
            await self.channel_layer.group_discard("x", self.channel_name)

        async def feed_update(self, event: dict[str, Any]) -> None:
            await self.send(text_data=event["text"])

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await Member.as_asgi()(scope, receive, send)
