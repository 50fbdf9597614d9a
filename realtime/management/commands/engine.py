"""`manage.py engine`: an engine in a process of its own."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand

from realtime.engine import Engine
from realtime.feeds.runtime import Feeds
from realtime.processes import allow_many_sockets, collect_seldom, end_soon


class Command(BaseCommand):
    help = "Poll sources and keep feeds in order, until SIGTERM or SIGINT. Run as many as you want."

    def handle(self, *args: Any, **options: Any) -> None:
        allow_many_sockets()
        collect_seldom()
        asyncio.run(self._run())

    async def _run(self) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        feeds = Feeds.current()
        try:
            async with Engine(feeds) as engine:
                self.stdout.write(f"Engine {engine.name} is running.")
                self.stdout.flush()
                await stop.wait()
                end_soon()
        finally:
            await feeds.aclose()
