"""`manage.py add_feed <slug>`: a push feed, which other programs publish to."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime.errors import HeadwaterError
from realtime.feeds.catalog import create_feed

GIVEN = ("title", "public", "latest_only", "presence", "join_leave", "client_publish", "recovery")


class Command(BaseCommand):
    help = "Add a push feed, which other programs publish to over the HTTP API."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="the feed's name in addresses: a-z, 0-9, - and _")
        parser.add_argument("--title", default="", help="its name for people; the slug if left out")
        parser.add_argument("--public", action="store_true", help="readable by everybody, without an account")
        parser.add_argument(
            "--latest-only", action="store_true", help="a reader who falls behind skips to the newest value"
        )
        parser.add_argument("--presence", action="store_true", help="SDK clients see who else is subscribed")
        parser.add_argument(
            "--join-leave",
            action="store_true",
            help="SDK clients may ask who comes and goes; needs --presence",
        )
        parser.add_argument("--client-publish", action="store_true", help="SDK clients may publish to it")
        parser.add_argument(
            "--recovery",
            choices=["stream", "cache"],
            default="stream",
            help="what an SDK client gets when it comes back: all that it missed, or the newest value",
        )

    def handle(self, **options: Any) -> None:
        try:
            given = {name: options[name] for name in GIVEN}
            feed = create_feed(options["slug"], **given)
        except HeadwaterError as error:
            raise CommandError(error.message) from error
        who = "everybody" if feed.public else "signed-in users and tokens"
        self.stdout.write(f"Added the push feed {feed.slug}, readable by {who}.")
