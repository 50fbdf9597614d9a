"""The Python SDK, `centrifuge-python`, on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

import centrifuge

from .clients import TIMEOUT_S, Client, Content, Event, Refused, Sdk

CONNECTION = ("connecting", "connected", "disconnected", "error")
CHANNEL = ("subscribing", "subscribed", "unsubscribed", "publication", "join", "leave")


class PythonSdk(Sdk):
    """All clients share the loop, which ends with `close`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._clients: list[PythonClient] = []

    def open(
        self, url: str, kind: str, *, tokens: Sequence[str] | None = None, **options: Any
    ) -> PythonClient:
        client = PythonClient(self.loop, url, tokens, binary=kind == "protobuf", options=options)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.thaw()
            client.call("disconnect")
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(TIMEOUT_S)
        self.loop.close()


class PythonClient(Client):
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        url: str,
        tokens: Sequence[str] | None,
        *,
        binary: bool,
        options: Content,
    ) -> None:
        super().__init__()
        self._loop = loop
        self._binary = binary
        self._deltas: Counter[str] = Counter()
        self._thawed = threading.Event()
        if "data" in options:
            options["data"] = self._pack(options["data"])
        self._inner = centrifuge.Client(
            f"{url}/connection/websocket",
            use_protobuf=binary,
            loop=loop,
            proxy=None,
            max_reconnect_delay=0.5,
            events=self._handler(centrifuge.ClientEventHandler(), ""),
            **options,
            **self._asking(tokens, ""),
        )

    def call(self, method: str, /, **arguments: Any) -> Any:
        async def run() -> Any:
            try:
                return await getattr(self, f"_{method}")(**arguments)
            except centrifuge.ReplyError as error:
                raise Refused(error.code, error.message) from None

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(TIMEOUT_S)

    def freeze(self) -> None:
        self._thawed.clear()
        self._loop.call_soon_threadsafe(self._thawed.wait, TIMEOUT_S)

    def thaw(self) -> None:
        self._thawed.set()

    # What `call` calls

    async def _connect(self) -> None:
        await self._inner.connect()

    async def _disconnect(self) -> None:
        await self._inner.disconnect()

    async def _subscribe(
        self,
        channel: str,
        *,
        tokens: Sequence[str] | None = None,
        since: Content | None = None,
        delta: str = "",
        **options: Any,
    ) -> None:
        subscription = self._inner.get_subscription(channel)
        if subscription is None:
            if "data" in options:
                options["data"] = self._pack(options["data"])
            if since is not None:

                async def position(_: str) -> centrifuge.StreamPosition:
                    return centrifuge.StreamPosition(since.get("offset", 0), since.get("epoch", ""))

                options["get_state"] = position
            subscription = self._inner.new_subscription(
                channel,
                events=self._handler(centrifuge.SubscriptionEventHandler(), channel),
                delta=centrifuge.DeltaType(delta) if delta else None,
                **options,
                **self._asking(tokens, channel),
            )
        await subscription.subscribe()

    async def _unsubscribe(self, channel: str) -> None:
        subscription = self._inner.get_subscription(channel)
        assert subscription is not None
        await subscription.unsubscribe()

    async def _publish(self, channel: str, data: Any) -> None:
        await self._inner.publish(channel, self._pack(data))

    async def _history(self, channel: str, since: Content | None = None, **options: Any) -> Content:
        start = centrifuge.StreamPosition(**since) if since else None
        return self._plain(asdict(await self._inner.history(channel, since=start, **options)))

    async def _presence(self, channel: str) -> Content:
        return self._plain(asdict(await self._inner.presence(channel)))

    async def _presence_stats(self, channel: str) -> Content:
        return asdict(await self._inner.presence_stats(channel))

    async def _delta_count(self, channel: str) -> int:
        return self._deltas[channel]

    async def _rpc(self, method: str, data: Any) -> Content:
        return self._plain(asdict(await self._inner.rpc(method, self._pack(data))))

    # What the SDK tells

    def _handler(self, handler: Any, channel: str) -> Any:
        """The SDK's own handler object with every callback recording."""
        kinds = CHANNEL if channel else CONNECTION
        for kind in (*CHANNEL, *CONNECTION):
            if hasattr(handler, f"on_{kind}"):
                name = kind if kind in kinds or kind == "error" else f"server_{kind}"
                setattr(handler, f"on_{kind}", self._recording(name, channel))
        return handler

    def _recording(self, kind: str, channel: str) -> Callable[[Any], Awaitable[None]]:
        async def record(context: Any) -> None:
            content = vars(context) | {}
            error = content.pop("error", None)
            told = self._plain(asdict(type(context)(**(content | ({"error": None} if error else {})))))
            told |= told.pop("pub", {})
            self._deltas[channel] += bool(told.get("delta"))
            if error is not None:
                told["error"] = {"code": getattr(error, "code", 0), "message": str(error)}
            self.heard.put(Event(kind, channel or told.get("channel", ""), told))

        return record

    def _asking(self, tokens: Sequence[str] | None, channel: str) -> dict[str, Any]:
        """Tokens one after the other; the last one again and again; unauthorized where there are none."""
        if tokens is None:
            return {}
        left = list(tokens)

        async def get_token(*_: str) -> str:
            self.heard.put(Event("token", channel, {}))
            if not left:
                raise centrifuge.UnauthorizedError("no token")
            return left.pop(0) if len(left) > 1 else left[0]

        return {"get_token": get_token}

    def _pack(self, data: Any) -> Any:
        return json.dumps(data).encode() if self._binary else data

    def _plain(self, content: Any) -> Any:
        """The same with every JSON value readable, whatever the codec."""
        if isinstance(content, bytes):
            return json.loads(content) if content else None
        if isinstance(content, list):
            return [self._plain(each) for each in content]
        if isinstance(content, dict):
            return {name: self._plain(each) for name, each in content.items()}
        return content
