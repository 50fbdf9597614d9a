"""`manage.py serve`: Daphne, and the engine on the same loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from realtime.conf import conf
from realtime.delivery.centrifuge.door import Door
from realtime.delivery.watching import Delivery
from realtime.engine import Engine
from realtime.errors import UnknownInsides
from realtime.feeds.runtime import Feeds
from realtime.processes import allow_many_sockets, collect_seldom, end_soon
from realtime.sources.freshness import keep_states

# Without an engine here this is a net under the engines' own look each second: see `_work`.
STATES_EVERY_S = 5.0


class Command(BaseCommand):
    """Asks nothing; everything it needs is in the settings."""

    help = "Serve pages, API, WebSockets and streams, and run the engine. PORT and HEADWATER_HOST say where."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-engine", action="store_true", help="leave polling to `manage.py engine`")
        parser.add_argument("--first-start", action="store_true", help="do `first_start --demo` before that")
        parser.add_argument("--access-log", action="store_true", help="one line per request and socket")

    def handle(
        self, *args: Any, no_engine: bool, first_start: bool, access_log: bool, **options: Any
    ) -> None:
        # Installs Twisted's reactor, so it must come before anything else that might import Twisted.
        from realtime.delivery.serve import HeadwaterServer, port_is_taken

        if first_start:
            call_command("first_start", demo=True, stdout=self.stdout)
        _check_database()
        allow_many_sockets()
        from project.asgi import application

        host, port = conf().host, conf().port
        try:
            server = HeadwaterServer(
                application,
                host=host,
                port=port,
                listening=self._say_listening,
                work=partial(_work, with_engine=not no_engine),
                access_log=access_log,
            )
        except UnknownInsides as error:
            raise CommandError(error.message) from error
        collect_seldom()
        try:
            server.run()
        finally:
            server.close()
        if port_is_taken(server.failure):
            raise CommandError(
                f"Cannot listen on {host}:{port}: {server.failure}. Choose another with PORT=…"
            )
        if server.failure is not None:
            raise CommandError(f"Stopped: {server.failure}")

    def _say_listening(self, port: int) -> None:
        host = conf().host
        self.stdout.write(f"Headwater is on http://{f'[{host}]' if ':' in host else host}:{port}")
        self.stdout.flush()


@asynccontextmanager
async def _work(*, with_engine: bool) -> AsyncIterator[None]:
    feeds = Feeds.current()
    delivery = Delivery.current()
    Door.of(feeds)  # other processes know of this one before its first SDK client comes
    engine = Engine(feeds) if with_engine else None
    try:
        if engine is not None:
            await engine.start()
        else:
            # So that feeds turn stale even when every engine has died.
            feeds.supervisor.spawn("states", lambda: keep_states(feeds, every_s=STATES_EVERY_S))
        yield
        end_soon()
    finally:
        if engine is not None:
            await engine.aclose()
        await delivery.aclose()
        await feeds.aclose()


def _check_database() -> None:
    try:
        executor = MigrationExecutor(connection)
        behind = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        raise CommandError(f"The database does not answer: {error}") from error
    finally:
        connection.close()
    if behind:
        raise CommandError(f"The database lacks {len(behind)} migrations. Run: python manage.py migrate")
