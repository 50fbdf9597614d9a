"""A registry of the test's own."""

from __future__ import annotations

import pytest

from realtime.queries import registry


@pytest.fixture
def own_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    """No query is declared but those that the test declares itself."""
    monkeypatch.setattr(registry, "_queries", {})
