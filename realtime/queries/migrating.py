"""Triggers before and after migrations: `migrate` alone makes them, and they are never in its way."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.db import DEFAULT_DB_ALIAS
from django.db.models.signals import post_migrate, pre_migrate

from . import triggers


def connect() -> None:
    """Called once, when all apps are loaded."""
    pre_migrate.connect(_before, dispatch_uid="headwater live queries")
    post_migrate.connect(_after, dispatch_uid="headwater live queries")


def _before(sender: AppConfig, using: str, plan: list[Any] | None = None, **_: Any) -> None:
    """A trigger would keep its table's columns from being altered, or fail when they are gone."""
    if plan and using == DEFAULT_DB_ALIAS and sender is _apps()[0]:
        triggers.remove()


def _after(sender: AppConfig, using: str, plan: list[Any] | None = None, **_: Any) -> None:
    """Once, after the last app. Emptying the database, which has no plan, leaves triggers as they are."""
    if plan is not None and using == DEFAULT_DB_ALIAS and sender is _apps()[-1]:
        triggers.install()


def _apps() -> list[AppConfig]:
    """Those that the signals are sent for, in that order."""
    return [each for each in apps.get_app_configs() if each.models_module is not None]
