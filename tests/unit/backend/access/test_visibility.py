"""One door to what a caller may see: no query of assets goes past `visible` (architecture.md, promise 2)."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, String, Table, bindparam

from backend.access.visibility import visible

ROOT = Path(__file__).parents[4]
ASSETS = {
    *("Function", "DataManager", "DataSample", "ComputePlan", "ComputeTask"),
    *("Model", "Performance", "TaskProfiling", "FailureReport"),
}
QUERIES = {"select", "update", "delete", "exists", "union_all"}
NOT_REQUESTS = {"tables.py", "events.py", "apply.py"}  # what the ledger says is of no caller

# Queries that need no door of their own, each with the reason.
BESIDE_THE_DOOR = {
    "compute_plans/store.py CREATOR_NAME": "correlated with plans that came through the door",
    "compute_plans/store.py _having_task": "correlated with plans that came through the door",
    "compute_plans/store.py _having_input": "correlated with plans that came through the door",
    "data_managers/store.py SAMPLE_KEYS": "of managers that came through the door",
    "data_managers/store.py conditions": "correlated with managers that came through the door",
    "data_samples/store.py _MANAGERS": "correlated with samples that came through the door",
    "data_samples/store.py conditions": "correlated with samples that came through the door",
    "functions/store.py conditions": "correlated with functions that came through the door",
    "profiling/store.py restart": "of a task that the service found through the door",
    "tasks/store.py FUNCTION_NAME": "correlated with tasks that came through the door",
    "workflow_graph/store.py _specifications": "correlated with tasks that came through the door",
}


@dataclass(frozen=True)
class Unit:
    """A function, method or module constant; `aliases` are the module's names for assets' tables."""

    where: str
    name: str
    code: ast.AST
    aliases: frozenset[str]

    @property
    def called(self) -> set[str]:
        functions = [node.func for node in ast.walk(self.code) if isinstance(node, ast.Call)]
        plain = {f.id for f in functions if isinstance(f, ast.Name)}
        return plain | {f.attr for f in functions if isinstance(f, ast.Attribute)}

    @property
    def names(self) -> set[str]:
        return {node.id for node in ast.walk(self.code) if isinstance(node, ast.Name)}

    def passes(self, doors: set[str]) -> bool:
        return bool(doors & (self.called | self.names))

    @property
    def asks_for_assets(self) -> bool:
        return bool(QUERIES & self.called) and bool(self.aliases & self.names)


def _elements(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _aliases(tree: ast.Module) -> frozenset[str]:
    """`tasks, inputs = core(ComputeTask).c, core(ComputeTaskInput).c` makes `tasks` one."""
    found = set(ASSETS)
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets, values = _elements(node.targets[0]), _elements(node.value)
            for target, value in zip(targets, values, strict=False):
                named = {n.id for n in ast.walk(value) if isinstance(n, ast.Name)}
                if isinstance(target, ast.Name) and "core" in named and ASSETS & named:
                    found.add(target.id)
    return frozenset(found)


def sources() -> Iterator[Path]:
    for path in sorted((ROOT / "backend" / "assets").rglob("*.py")):
        if path.name not in NOT_REQUESTS:
            yield path


def units() -> Iterator[Unit]:
    for path in sources():
        tree = ast.parse(path.read_text("utf-8"))
        where = str(path.relative_to(ROOT / "backend" / "assets"))
        aliases = _aliases(tree)
        for node in tree.body:
            for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield Unit(where, inner.name, inner, aliases)
                elif isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
                    yield Unit(where, inner.targets[0].id, inner.value, aliases)
                elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                    yield Unit(where, inner.target.id, inner.value or inner, aliases)


def doors(all_units: list[Unit]) -> set[str]:
    """`visible`, and whatever is built on it."""
    found = {"visible"}
    while more := {u.name for u in all_units if u.passes(found)} - found:
        found |= more
    return found


def test_every_query_of_assets_goes_through_the_door() -> None:
    all_units = list(units())
    known = doors(all_units)
    past = {
        f"{unit.where} {unit.name}"
        for unit in all_units
        if unit.asks_for_assets and not unit.passes(known)
    }
    assert past - set(BESIDE_THE_DOOR) == set(), "say visible(table, channel), or why not"
    assert set(BESIDE_THE_DOOR) - past == set(), "these reasons are no longer needed"


def test_nobody_compares_channels_by_hand() -> None:
    by_hand = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(r"\.channel\s*==", line)
    ]
    assert by_hand == []


def test_the_lint_sees_a_query_past_the_door() -> None:
    tree = ast.parse(
        "tasks = core(ComputeTask).c\n"
        "def open(): return select(tasks.key).where(visible(tasks, 'c'))\n"
        "def shut(): return select(tasks.key)\n"
    )
    aliases = _aliases(tree)
    made = [
        Unit("x", node.name, node, aliases)
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    ]
    assert "tasks" in aliases
    assert [unit.name for unit in made if not unit.passes(doors(made))] == ["shut"]
    assert all(unit.asks_for_assets for unit in made)


TABLE = Table("asset", MetaData(), Column("channel", String))


@pytest.mark.parametrize("table", [TABLE, TABLE.c])
def test_visible_is_the_channel(table: object) -> None:
    assert str(visible(table, "mychannel")) == "asset.channel = :channel_1"
    prepared = visible(table, bindparam("channel", type_=String))
    assert str(prepared) == "asset.channel = :channel"
