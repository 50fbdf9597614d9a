"""What the tests need is found or named, never passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import programs


def test_a_missing_program_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(programs.MissingProgram, match="apt-get install redis-server"):
        programs.find_program("redis-server")
    assert "chromium" in programs.missing_packages()


def test_postgresql_is_found_where_debian_keeps_it() -> None:
    assert Path(programs.find_program("initdb")).name == "initdb"
