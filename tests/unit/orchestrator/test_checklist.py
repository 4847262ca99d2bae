"""docs/ledger.md names every RPC, and only tests that exist."""

import ast
import re
from pathlib import Path

from orchestrator import limits, wire

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "ledger.md").read_text("utf-8")


def _tests() -> set[str]:
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_test_that_the_checklist_names_exists() -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", PAGE))
    assert len(named) > 50
    assert named - _tests() == set()


def test_every_rpc_is_on_the_checklist() -> None:
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| ")]
    listed = {name for row in rows for name in re.findall(r"\w+", row)}
    rpcs = {method.name for service in wire.services() for method in service.methods}
    assert len(rpcs) == 40
    assert rpcs - listed == set()


def test_every_limit_is_told_with_its_value() -> None:
    told = {
        limits.MAX_MESSAGE: f"{limits.MAX_MESSAGE // 2**20} MiB",
        limits.MAX_TASKS: f"tasks of one call | {limits.MAX_TASKS:,}",
        limits.MAX_PARTS: f"{limits.MAX_PARTS:,}",
        limits.LARGEST_ASSET: f"{limits.LARGEST_ASSET / 1e6} MB",
        limits.LONGEST_REASON: f"{limits.LONGEST_REASON:,} characters",
        limits.WAITING_CALLS: f"{limits.WAITING_CALLS:,} calls",
        limits.WAITING_BYTES: f"{limits.WAITING_BYTES // 2**20} MiB",
        limits.WAITING_READS: f"{limits.WAITING_READS:,}",
        limits.STREAMS: f"{limits.STREAMS:,}",
    }
    assert [text for text in told.values() if text not in PAGE] == []
