"""The settings that tests run under: the project's own, with a data folder that nobody else has.

Nothing of the shell's Headwater settings gets in. With HEADWATER_TEST_DATABASE_URL (see `tests.services`)
the database is that PostgreSQL; otherwise a SQLite file in the data folder.
"""

import atexit
import os
import shutil
import tempfile

_database_url = os.environ.get("HEADWATER_TEST_DATABASE_URL", "")
for _name in list(os.environ):
    if _name in ("DATABASE_URL", "REDIS_URL", "PORT") or (
        _name.startswith("HEADWATER_") and not _name.startswith("HEADWATER_TEST_")
    ):
        del os.environ[_name]

_data_dir = tempfile.mkdtemp(prefix="headwater-test-")
atexit.register(shutil.rmtree, _data_dir, ignore_errors=True)
os.environ["HEADWATER_DATA_DIR"] = _data_dir
os.environ["HEADWATER_APPS"] = "docs.examples.orders"
if _database_url:
    os.environ["DATABASE_URL"] = _database_url

from project.settings import *  # noqa: E402, F403

# What runs in the tests' own process is asked for pages, not for files: none need be collected, and no test
# waits for a list of them. `manage.py serve` has them.
STORAGES = STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}  # noqa: F405
SERVESTATIC_USE_STATIC_ROOT = False

# Hashing that is slow on purpose protects nothing here.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Models for tests alone.
INSTALLED_APPS = [*INSTALLED_APPS, "tests.queries.bookshop"]  # noqa: F405
