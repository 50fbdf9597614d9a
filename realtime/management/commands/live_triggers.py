"""`manage.py live_triggers`: makes the triggers that live queries need, which `migrate` does as well."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime.queries import triggers


class Command(BaseCommand):
    help = "Make the triggers by which live queries hear of changed rows, and remove those that none needs."

    def add_arguments(self, parser: CommandParser) -> None:
        either = parser.add_mutually_exclusive_group()
        either.add_argument("--check", action="store_true", help="Only tell; exit 1 if anything differs.")
        either.add_argument("--remove", action="store_true", help="Remove all of them.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            self._check()
        elif options["remove"]:
            triggers.remove()
            self.stdout.write("All triggers are removed. An engine makes them again when it starts.")
        else:
            found = triggers.differences()
            without = triggers.install()
            self.stdout.write(f"{len(found.missing)} made, {len(found.superfluous)} removed.")
            if without:
                raise CommandError(f"Without triggers: {', '.join(sorted(without))}.")

    def _check(self) -> None:
        found = triggers.differences()
        for each in found.missing:
            self.stdout.write(f"missing      {each.name} {each.table}")
        for each in found.superfluous:
            self.stdout.write(f"superfluous  {each.name} {each.table}")
        for table in sorted(found.deaf):
            self.stdout.write(f"impossible   {table}")
        if found:
            raise CommandError("Run `manage.py live_triggers`.")
        self.stdout.write("Every table that live queries read has its triggers.")
