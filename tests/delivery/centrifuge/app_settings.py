"""The project's settings with an app of one's own installed, as a site would have them."""

from project.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.delivery.centrifuge.app"]  # noqa: F405
