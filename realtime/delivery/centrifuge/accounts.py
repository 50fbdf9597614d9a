"""What happens to Django's users ends or renews their connections, on every process.

Signing out, being deactivated or deleted and a new password end them for good (3503). Other rights make them
come back and be looked at anew (3011). Streams without the protocol, and live queries, are looked at again at
once, after any other change of the user as well: a query's own rule may ask for it. What passes by Django's
signals, as `QuerySet.update`, is noticed when rights are looked at again: see `delivery.patrol`.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission, PermissionsMixin
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

from realtime.delivery.patrol import rights_changed

from .orders import disconnect, order_now
from .protocol import DisconnectCode

ENDING = ("is_active", "password")
RENEWING = ("is_staff", "is_superuser")
HARMLESS = {"last_login"}
_UID = "realtime.centrifuge.accounts"


def connect() -> None:
    """Hear Django's signals from now on. Called once the apps are ready."""
    user = get_user_model()
    user_logged_out.connect(_signed_out, dispatch_uid=_UID)
    pre_save.connect(_remember, user, dispatch_uid=_UID)
    post_save.connect(_saved, user, dispatch_uid=_UID)
    post_delete.connect(_deleted, user, dispatch_uid=_UID)
    if issubclass(user, PermissionsMixin):
        for through in (user.groups.through, user.user_permissions.through):
            m2m_changed.connect(_memberships_changed, through, dispatch_uid=_UID)
        m2m_changed.connect(_group_changed, Group.permissions.through, dispatch_uid=_UID)
        pre_delete.connect(_group_deleted, Group, dispatch_uid=_UID)


def _tell(users: Collection[Any], code: DisconnectCode) -> None:
    """After the commit, or now where there is no transaction."""
    _disconnect(users, code)
    _look_again(users)


def _disconnect(users: Collection[Any], code: DisconnectCode) -> None:
    for user in users:
        transaction.on_commit(partial(order_now, disconnect(str(user), code)), robust=True)


def _look_again(users: Collection[Any]) -> None:
    if users:
        transaction.on_commit(partial(rights_changed, list(users)), robust=True)


def _signed_out(user: Any, **_: Any) -> None:
    """The session is there yet: streams that came with it end when rights are looked at again."""
    if user is not None:
        _disconnect([user.pk], DisconnectCode.FORCED)


def _remember(sender: Any, instance: Any, raw: bool, update_fields: Any, **_: Any) -> None:
    """What the row says before it is saved, where a save may change what counts."""
    names = {field.name for field in sender._meta.concrete_fields} & {*ENDING, *RENEWING}
    if update_fields is not None:
        names &= set(update_fields)
    instance._headwater_before = None
    if names and instance.pk is not None and not raw:
        instance._headwater_before = sender._base_manager.filter(pk=instance.pk).values(*names).first()


def _saved(sender: Any, instance: Any, created: bool, update_fields: Any, **_: Any) -> None:
    before = instance.__dict__.pop("_headwater_before", None) or {}
    changed = {name for name, value in before.items() if getattr(instance, name) != value}
    if changed & {*ENDING}:
        _tell([instance.pk], DisconnectCode.FORCED)
    elif changed:
        _tell([instance.pk], DisconnectCode.FORCE_RECONNECT)
    elif not created and (update_fields is None or set(update_fields) - HARMLESS):
        _look_again([instance.pk])


def _deleted(instance: Any, **_: Any) -> None:
    _tell([instance.pk], DisconnectCode.FORCED)


def _memberships_changed(
    sender: Any, instance: Any, action: str, reverse: bool, model: Any, pk_set: Any, **_: Any
) -> None:
    if not reverse:  # user.groups.add(…)
        if action in ("post_add", "post_remove", "post_clear"):
            _tell([instance.pk], DisconnectCode.FORCE_RECONNECT)
    elif action in ("post_add", "post_remove"):  # group.user_set.add(…)
        _tell(pk_set, DisconnectCode.FORCE_RECONNECT)
    elif action == "pre_clear":
        _tell(_members(instance), DisconnectCode.FORCE_RECONNECT)


def _group_changed(instance: Any, action: str, reverse: bool, pk_set: Any, **_: Any) -> None:
    if not reverse:  # group.permissions.add(…)
        if action in ("post_add", "post_remove", "post_clear"):
            _tell(_members(instance), DisconnectCode.FORCE_RECONNECT)
    elif action in ("post_add", "post_remove"):  # permission.group_set.add(…)
        for group in Group.objects.filter(pk__in=pk_set):
            _tell(_members(group), DisconnectCode.FORCE_RECONNECT)
    elif action == "pre_clear":
        for group in instance.group_set.all():
            _tell(_members(group), DisconnectCode.FORCE_RECONNECT)


def _group_deleted(instance: Any, **_: Any) -> None:
    _tell(_members(instance), DisconnectCode.FORCE_RECONNECT)


def _members(holder: Group | Permission) -> list[Any]:
    """Those who are in a group, or have a permission by themselves."""
    return list(holder.user_set.values_list("pk", flat=True))
