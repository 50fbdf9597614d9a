from __future__ import annotations

import pytest

from project import settings


def test_what_the_database_url_asks_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgres://me@db.example/headwater?sslmode=require&connect_timeout=2"
    monkeypatch.setattr(settings, "_conf", settings._conf.model_copy(update={"database_url": url}))
    options = settings._database()["OPTIONS"]
    assert options["sslmode"] == "require"
    assert int(options["connect_timeout"]) == 2


def test_whoever_waits_for_a_connection_outwaits_an_attempt_to_make_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "postgres://me@db.example/headwater"
    monkeypatch.setattr(settings, "_conf", settings._conf.model_copy(update={"database_url": url}))
    pool = settings._database()["OPTIONS"]["pool"]
    assert pool["reconnect_timeout"] <= pool["timeout"]  # the pool's own is five minutes
    assert pool["max_size"] > settings._conf.database_threads
