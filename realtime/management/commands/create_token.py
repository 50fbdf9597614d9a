"""`manage.py create_token <name>`: a token for programs, alone on standard output."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime.errors import HeadwaterError
from realtime.feeds.access import create_token
from realtime.feeds.models import ApiToken


class Command(BaseCommand):
    help = "Make an API token. It is shown this once, alone on standard output; only its digest is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what the token is for; a name that no other token has")
        parser.add_argument(
            "--scope",
            action="append",
            required=True,
            choices=ApiToken.Scope.values,
            help="what it may do; repeat for several",
        )

    def handle(self, **options: Any) -> None:
        try:
            row, token = create_token(options["name"], options["scope"])
        except HeadwaterError as error:
            raise CommandError(error.message) from error
        self.stderr.write(
            f"Token {row.name!r} with {', '.join(row.scopes)}. Send it as Authorization: Bearer …"
        )
        self.stdout.write(token)
