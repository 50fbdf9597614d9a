#!/usr/bin/env python
"""The command line: `serve`, `engine`, `add_source`, `add_feed`, `tail`, `create_token`, and Django's own."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    try:
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)  # what shells say of Ctrl-C; who pressed it needs no traceback


if __name__ == "__main__":
    main()
