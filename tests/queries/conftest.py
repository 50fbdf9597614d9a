"""A registry of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from realtime.queries import blocks, registry

SetTemplates = Callable[..., None]


@pytest.fixture
def own_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    """No query is declared but those that the test declares itself."""
    monkeypatch.setattr(registry, "_queries", {})


@pytest.fixture
def further_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test declares stands beside the apps' queries, and is forgotten after it."""
    monkeypatch.setattr(registry, "_queries", dict(registry._queries))


@pytest.fixture
def set_templates(settings: Any, monkeypatch: pytest.MonkeyPatch) -> SetTemplates:
    """Sets which templates there are, by name, as in a process that has not loaded any yet."""

    def set_them(sources: dict[str, str]) -> None:
        monkeypatch.setattr(blocks, "_found", {})
        [backend] = settings.TEMPLATES
        in_memory = ("django.template.loaders.locmem.Loader", sources)
        loaders = [("django.template.loaders.cached.Loader", [in_memory])]
        settings.TEMPLATES = [
            backend | {"DIRS": [], "APP_DIRS": False, "OPTIONS": backend["OPTIONS"] | {"loaders": loaders}}
        ]

    return set_them
