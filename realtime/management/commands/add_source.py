"""`manage.py add_source <slug> <url>`: an endpoint to poll, and the feed of the same name that it fills."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime.errors import HeadwaterError
from realtime.sources.catalog import FeedDraft, SourceDraft, create_source
from realtime.sources.models import Source


class Command(BaseCommand):
    help = "Add a source and the feed of the same name that it fills. The engine polls it at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="the name of source and feed in addresses: a-z, 0-9, - and _")
        parser.add_argument("url", help="what to poll, http or https")
        parser.add_argument("--every", type=float, default=60, metavar="SECONDS", help="1 to 86400")
        parser.add_argument("--extract", default="", metavar="EXPR", help="JMESPath; left out: all of it")
        parser.add_argument("--title", default="", help="its name for people; the slug if left out")
        parser.add_argument("--format", default="json", choices=Source.Format.values)
        parser.add_argument("--timeout", type=float, default=10, metavar="SECONDS", help="0.1 to 300")
        parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
        parser.add_argument(
            "--secret-header", action="append", default=[], metavar="'NAME: VALUE'", help="kept encrypted"
        )
        parser.add_argument("--public", action="store_true", help="readable by everybody, without an account")

    def handle(self, **options: Any) -> None:
        slug = options["slug"]
        draft = SourceDraft(
            slug=slug,
            url=options["url"],
            title=options["title"],
            headers=_headers(options["header"], "--header"),
            secret_headers=_headers(options["secret_header"], "--secret-header"),
            interval_s=options["every"],
            timeout_s=options["timeout"],
            format=options["format"],
            feeds=(FeedDraft(slug, options["title"], options["extract"], options["public"]),),
        )
        try:
            create_source(draft)
        except HeadwaterError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"Added the source {slug}, polled every {draft.interval_s:g} s, and its feed.")


def _headers(lines: list[str], option: str) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise CommandError(f"{option}: write it as 'Name: value'.")
        headers[name.strip()] = value.strip()
    return headers
