"""An app for servers under test: whoever is told to go has as much time for it as a slow machine takes.

serve(HEADWATER_APPS=UNHURRIED)
"""

from __future__ import annotations

from django.apps import AppConfig

UNHURRIED = "docs.examples.orders,tests.faults.unhurried.Unhurried"


class Unhurried(AppConfig):
    """Both limits are far longer than tests wait for anything, so nothing ends by them."""

    name = "tests.faults.unhurried"

    def ready(self) -> None:
        from realtime.delivery import drain, serve

        drain.LIMIT_S = 600.0
        serve.CLOSE_TIMEOUT_S = 600
