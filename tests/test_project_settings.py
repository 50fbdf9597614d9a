from __future__ import annotations

import pytest

from project import settings


def test_what_the_database_url_asks_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgres://me@db.example/headwater?sslmode=require&connect_timeout=2"
    monkeypatch.setattr(settings, "_conf", settings._conf.model_copy(update={"database_url": url}))
    options = settings._database()["OPTIONS"]
    assert options["sslmode"] == "require"
    assert int(options["connect_timeout"]) == 2
    assert options["pool"]["max_size"] > settings._conf.database_threads
