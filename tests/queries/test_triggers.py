"""Exactly the tables that declared queries read have triggers, after `migrate` alone, and however it ran."""

from __future__ import annotations

import dataclasses
import io
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import connection
from django.db.migrations import Migration

from docs.examples.orders.models import Tag
from realtime.queries import triggers
from realtime.queries.heard import heard_names, heard_tables
from realtime.queries.registry import live_query

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The triggers are those of the real queries before a test, and again when it is over."""
    triggers.install()
    yield
    triggers.install()
    assert not triggers.differences()


@pytest.fixture
def groups_are_read(own_queries: None) -> None:
    """One query alone, of a table that no other reads."""

    @live_query("groups", reads=[Group])
    async def groups() -> int:
        return await Group.objects.acount()


def drop_one(table: str) -> None:
    found = next(each for each in triggers._present() if each.table == table)
    with connection.cursor() as cursor:
        cursor.execute(found.drop)


def tellings(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry each time that engines are told that something may have happened."""
    told: list[None] = []
    monkeypatch.setattr(triggers, "_tell_all", lambda: told.append(None))
    return told


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("live_triggers", *arguments, stdout=output)
    return output.getvalue()


def test_migrate_alone_makes_them() -> None:
    triggers.remove()
    call_command("migrate", verbosity=0)
    assert not triggers.differences()
    assert "Every table" in run("--check")


def test_what_is_missing_is_told_and_made() -> None:
    drop_one("orders_order")
    assert triggers.differences().untold == {"orders_order"}
    with pytest.raises(CommandError):
        run("--check")
    assert "1 made, 0 removed" in run()
    assert not triggers.differences().untold


def test_a_trigger_of_another_text_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.queries.plpgsql.MOST_ROWS", 7)
    monkeypatch.setattr("realtime.queries.row_log.MOST_VALUES", 1)
    assert {each.table for each in triggers.differences().missing} >= {"orders_order"}
    triggers.ensure()
    assert not triggers.differences()


def test_they_can_all_be_removed() -> None:
    run("--remove")
    assert triggers.differences().untold == set(heard_names())
    assert not triggers.differences().superfluous
    Tag.objects.create(name="written without")


@pytest.mark.usefixtures("groups_are_read")
def test_an_engine_makes_what_its_queries_need_and_leaves_other_releases_theirs() -> None:
    assert triggers.ensure() == frozenset()
    found = triggers.differences()
    assert not found.missing
    assert found.superfluous
    assert triggers.install() == frozenset()
    assert not triggers.differences()


def test_a_table_that_does_not_exist_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    known = heard_tables()
    missing = dataclasses.replace(known[0], name="not_migrated_yet")
    monkeypatch.setattr(triggers, "heard_tables", lambda also=(): [*known, missing])
    assert triggers.ensure() == {"not_migrated_yet"}
    with pytest.raises(CommandError, match="not_migrated_yet"):
        run()
    assert "impossible   not_migrated_yet" in run("--check")


def test_migrations_find_no_triggers_and_leave_them_all() -> None:
    plan = [(Migration("0002_more", "orders"), False)]
    emit_pre_migrate_signal(0, False, "default", plan=plan)
    assert triggers.differences().untold
    emit_post_migrate_signal(0, False, "default", plan=plan)
    assert not triggers.differences()


def test_a_migrate_that_has_nothing_to_do_leaves_them_alone() -> None:
    emit_pre_migrate_signal(0, False, "default", plan=[])
    assert not triggers.differences()


def test_an_app_can_be_migrated_back_and_forth() -> None:
    call_command("migrate", "orders", "zero", verbosity=0)
    call_command("migrate", "orders", verbosity=0)
    assert not triggers.differences()


@pytest.mark.only("postgresql")  # SQLite knows no users
def test_a_user_without_the_right_is_told_so_and_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_one("orders_order")
    told = tellings(monkeypatch)
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE nobody_much; GRANT SELECT ON ALL TABLES IN SCHEMA public TO nobody_much")
        cursor.execute("SET ROLE nobody_much")
    try:
        with caplog.at_level(logging.WARNING):
            assert triggers.ensure() == {"orders_order"}
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE; DROP OWNED BY nobody_much; DROP ROLE nobody_much")
    assert "trigger_not_changed" in caplog.text
    assert told == [], "engines that hear of it try again"


def test_engines_are_told_when_triggers_were_only_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    triggers.ensure(["auth_group"])
    told = tellings(monkeypatch)
    triggers.install()
    assert len(told) == 1
    triggers.install()
    assert len(told) == 1, "nothing was changed"


@pytest.mark.only("postgresql")  # SQLite's triggers cannot be disabled
def test_a_trigger_that_somebody_disabled_counts_as_missing() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE orders_order DISABLE TRIGGER USER")
    assert triggers.differences().untold == {"orders_order"}
    triggers.ensure()
    assert not triggers.differences().untold


@pytest.mark.only("postgresql")  # django-pgtrigger is for PostgreSQL
def test_those_who_use_django_pgtrigger_do_not_prune_ours() -> None:
    call_command("pgtrigger", "prune")
    assert not triggers.differences()


def test_engines_that_start_together_make_them_once_each() -> None:
    triggers.remove()

    def start() -> frozenset[str]:
        try:
            return triggers.ensure()
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as engines:
        found = [engine.result() for engine in [engines.submit(start) for _ in range(3)]]
    assert found == [frozenset()] * 3
    assert not triggers.differences()


def test_what_the_hub_itself_writes_all_the_time_has_none_whoever_reads_it() -> None:
    never = ["realtime_demand", "django_session", "django_content_type"]
    assert not triggers.differences(never)
    assert not triggers.differences(never).untold
