"""Keys that a first start makes by itself, so that nobody has to be asked.

They live in `keys.json` in the data folder, readable by its owner alone. Keys given in the environment win,
and with many machines they must be given there.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet


def generated_keys(data_dir: Path) -> dict[str, str]:
    """`{"secret_key", "field_key"}` from the data folder, made at the first call.

    Safe when several processes start at once: exactly one of them makes the file.
    """
    path = data_dir / "keys.json"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"keys.{os.getpid()}.{secrets.token_hex(4)}")
        keys = {"secret_key": secrets.token_urlsafe(50), "field_key": Fernet.generate_key().decode()}
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(keys, file)
        try:
            os.link(draft, path)  # fails when another process was first; then its keys are read below
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return dict(json.loads(path.read_text()))
