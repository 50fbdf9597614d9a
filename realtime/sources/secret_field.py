"""A JSON model field that is encrypted at rest with Fernet; the newest of the configured keys encrypts."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


@cache
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


class UnreadableSecret(Exception):
    """None of the configured keys opens the stored value."""


class EncryptedJSONField(models.TextField):  # type: ignore[type-arg]
    """Any JSON value, stored as one Fernet token. Cannot be searched.

    Keys come from `settings.FIELD_KEYS`, newest first; older ones still decrypt, so keys can be rotated.
    Raises UnreadableSecret on reading when no key fits.
    """

    def get_prep_value(self, value: Any) -> str | None:
        if value is None:
            return None
        return _cipher(tuple(settings.FIELD_KEYS)).encrypt(json.dumps(value).encode()).decode()

    def from_db_value(self, value: str | None, expression: object, connection: object) -> Any:
        if not value:
            return {}
        try:
            return json.loads(_cipher(tuple(settings.FIELD_KEYS)).decrypt(value.encode()))
        except InvalidToken:
            raise UnreadableSecret(
                "A secret header cannot be decrypted: HEADWATER_FIELD_KEYS lacks the key it was saved with."
            ) from None

    def to_python(self, value: Any) -> Any:
        return value
