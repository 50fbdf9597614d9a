"""The health checks of the containers tell a process that is well from one that is not."""

from __future__ import annotations

import socket

import psycopg
import pytest

from deploy import healthy
from tests.services import free_port
from tests.serving import Server


def test_a_web_process_is_well_while_it_answers(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", str(free_port()))
    assert "refused" in healthy.web()
    monkeypatch.setenv("PORT", str(server.port))
    assert healthy.web() == ""


def test_an_engine_is_well_while_its_own_sign_of_life_is_new(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    assert "does not answer" in healthy.engine()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE realtime_engineseen (name text, seen_at timestamptz)")
        try:
            connection.execute("INSERT INTO realtime_engineseen VALUES ('elsewhere:1:ab', now())")
            assert "not seen" in healthy.engine()
            connection.execute(
                "INSERT INTO realtime_engineseen VALUES (%s, now())", (f"{socket.gethostname()[:40]}:1:cd",)
            )
            assert healthy.engine() == ""
        finally:
            connection.execute("DROP TABLE realtime_engineseen")
