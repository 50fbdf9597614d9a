"""`static/js/rows.js` in Node: what a page makes of rows is the feed's value."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

from realtime.delivery.rows import row_delta
from tests.sdk.node_sdk import NODE
from tests.serving import ROOT

from .test_rows import NAMES, written

DRIVER = Path(__file__).parent / "rows.mjs"
MODULE = ROOT / "static" / "js" / "rows.js"
# Keys that are one in a language that is careless about them.
KEYS = [*range(12), "", "1", "2", "true", "ü", '"', "__proto__", "constructor", True, False]


def rows_of(dice: random.Random, names: list[str]) -> list[dict[str, Any]]:
    rows = {}
    for _ in range(dice.randrange(15)):
        row = {name: dice.choice(KEYS) for name in names} | {"n": dice.randrange(2), "x": "x" * 40}
        rows[written([row[name] for name in names])] = row
    return list(rows.values())


def test_a_page_that_applies_rows_holds_the_value() -> None:
    dice = random.Random(7)
    cases, values = [], []
    for names in NAMES:
        value = rows_of(dice, names)
        for _ in range(300):
            before = value
            value = [*before, *rows_of(dice, names)] if dice.random() < 0.5 else rows_of(dice, names)
            value = list({written([row[name] for name in names]): row for row in value}.values())[:20]
            if dice.random() < 0.5:
                dice.shuffle(value)
            delta = row_delta(written(before), written(value), names)
            told = {"data": value} if delta is None else {"key": names, "rows": json.loads(delta)}
            cases.append([before, {"type": "update"} | told])
            values.append(value)
    assert sum("rows" in message for _, message in cases) > 100
    done = subprocess.run(
        [NODE, "--no-warnings", DRIVER, MODULE.as_uri()],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert written(json.loads(done.stdout)) == written(values)
