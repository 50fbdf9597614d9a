"""What holds for all tests of this folder."""

from __future__ import annotations

import pytest

from realtime.feeds import broker


@pytest.fixture(autouse=True)
def patient_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine too a group is joined before `join` returns: what is sent there next arrives."""
    monkeypatch.setattr(broker, "JOIN_TIMEOUT_S", 30.0)
