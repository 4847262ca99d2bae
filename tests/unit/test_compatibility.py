"""docs/compatibility.md names a test for each line of the contract, and those tests exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHECKLIST = (ROOT / "docs" / "compatibility.md").read_text("utf-8")
NAMED = re.compile(r"`([a-z_0-9/]+\.py)::(test_[a-z_0-9]+)`")


def test_every_line_names_a_test() -> None:
    lines = [line for line in CHECKLIST.splitlines() if line.startswith("| `")]
    assert len(lines) == 59
    assert [line for line in lines if not NAMED.search(line)] == []


def test_every_test_that_is_named_exists() -> None:
    missing = [
        f"{path}::{name}"
        for path, name in NAMED.findall(CHECKLIST)
        if f"def {name}(" not in (ROOT / "tests/integration/backend" / path).read_text("utf-8")
    ]
    assert missing == []
