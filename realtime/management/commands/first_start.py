"""`first_start`: whatever must be there before `serve`: tables, an administrator, on request the demo."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from realtime.conf import conf
from realtime.errors import HeadwaterError
from realtime.sources.demo import create_demo, follow_port
from realtime.sources.models import Source


class Command(BaseCommand):
    # They load all pages and doors, which would double the time of every start.
    requires_system_checks: list[str] = []
    help = "Migrate, and where there is no user yet, make an administrator and print the password, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true", help="at the first start, make the demo's sources")

    def handle(self, *args: Any, **options: Any) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self.stdout.write("Preparing the database …")
            call_command("migrate", interactive=False, verbosity=0)
        users = get_user_model().objects
        first = not users.exists()
        if options["demo"]:
            try:
                if first and not Source.objects.exists():
                    create_demo(conf().port)
                else:
                    follow_port(conf().port)
            except HeadwaterError as error:
                raise CommandError(f"The demo cannot be set up: {error.message}") from error
        if first:
            password = secrets.token_urlsafe(12)
            users.create_superuser("admin", password=password)
            self.stdout.write(
                f"\n  Administrator   admin\n  Password        {password}\n"
                "  This is shown once. `manage.py changepassword admin` sets another.\n"
            )
