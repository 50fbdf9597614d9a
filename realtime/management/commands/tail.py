"""`manage.py tail`: watch one feed from the shell."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime.conf import conf
from realtime.delivery.connection import Connection
from realtime.delivery.watching import Delivery, Want
from realtime.errors import HeadwaterError
from realtime.feeds.access import TRUSTED
from realtime.feeds.catalog import FeedRef, find_feed
from realtime.feeds.demand import Opening, opener_of
from realtime.feeds.position import Position, parse_position
from realtime.feeds.runtime import Feeds


class Command(BaseCommand):
    """Reads the database directly, so that it works with or without a server beside it."""

    help = "Print a feed's messages as JSON lines, as the plain WebSocket sends them, until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("--since", metavar="EPOCH:OFFSET", help="first what came after this position")

    def handle(self, *args: Any, slug: str, since: str | None, **options: Any) -> None:
        try:
            ending = asyncio.run(self._tail(slug, parse_position(since) if since is not None else None))
        except HeadwaterError as error:
            raise CommandError(error.message) from None
        except KeyboardInterrupt:
            return
        except BrokenPipeError:
            # `tail … | head`: what is left in the buffer must not fail at the interpreter's end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        raise CommandError(ending.message)

    async def _tail(self, slug: str, since: Position | None) -> HeadwaterError:
        feeds = Feeds.current()
        delivery = Delivery.current()
        try:
            feed = await self._find(feeds, slug)
            connection: Connection[str] = Connection(
                lambda event: event.plain, self._print, feeds=1, limit_bytes=conf().send_limit_bytes
            )
            writer = asyncio.create_task(connection.run())
            try:
                watch = await delivery.watch([Want(feed.id, feed.slug, since)], connection)
                try:
                    return await writer
                finally:
                    watch.leave()
            finally:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
        finally:
            await delivery.aclose()
            await feeds.aclose()

    @staticmethod
    async def _find(feeds: Feeds, name: str) -> FeedRef:
        """Who has a shell here may read everything."""
        if opener_of(name) is None:
            return await feeds.database.read(find_feed, name)
        return await Opening.of(feeds).open(name, TRUSTED)

    async def _print(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
