"""One door to what a caller may see: no query of assets goes past `visible` (architecture.md, promise 2)."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, String, Table, bindparam

from backend.access.visibility import visible

ROOT = Path(__file__).parents[4]
FOLDER = ROOT / "backend" / "assets"
QUERIES = {"select", "update", "delete", "exists", "union_all", "table_valued", "get", "query"}
STATEMENTS = {"text", "exec_driver_sql", "literal_column", "execute", "exec"}
NOT_REQUESTS = {"tables.py", "events.py", "apply.py"}  # what the ledger says is of no caller

# Queries that need no door of their own, each with the reason.
CORRELATED = "correlated with rows that came through the door"
FOUND = "of an asset that the service found through the door"
OWN_FILES = "files of our own; the service found their asset through the door"
NEW = "of a key that this request brings in"
BESIDE_THE_DOOR = {
    "compute_plans/service.py _forget_creator": NEW,
    "compute_plans/service.py _note_creator": NEW,
    "compute_plans/store.py CREATOR_NAME": CORRELATED,
    "compute_plans/store.py _having_task": CORRELATED,
    "compute_plans/store.py _having_input": CORRELATED,
    "data_managers/store.py SAMPLE_KEYS": CORRELATED,
    "data_managers/store.py conditions": CORRELATED,
    "data_managers/store.py files": OWN_FILES,
    "data_managers/store.py forget_files": NEW,
    "data_samples/store.py _MANAGERS": CORRELATED,
    "data_samples/store.py conditions": CORRELATED,
    "data_samples/store.py forget_files": NEW,
    "failure_reports/store.py file_of": OWN_FILES,
    "functions/store.py _declared": CORRELATED,
    "functions/store.py conditions": CORRELATED,
    "functions/store.py files": OWN_FILES,
    "functions/store.py forget_files": NEW,
    "functions/store.py image_checksum": OWN_FILES,
    "models/store.py file_of": OWN_FILES,
    "profiling/store.py restart": FOUND,
    "workflow_graph/store.py _specifications": CORRELATED,
}


@dataclass(frozen=True)
class Tables:
    """The tables of assets with a channel: names of classes, and of tables."""

    classes: frozenset[str]
    names: frozenset[str]

    @classmethod
    def read(cls) -> "Tables":
        classes, names = set(), set()
        for path in FOLDER.rglob("tables.py"):
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef) and "channel" in ast.dump(node):
                    classes.add(node.name)
                    names |= set(
                        re.findall(r'__tablename__.*?"(\w+)"', ast.unparse(node).replace("'", '"'))
                    )
        return cls(frozenset(classes), frozenset(names))


TABLES = Tables.read()


@dataclass(frozen=True)
class Unit:
    """A function, method or module constant."""

    name: str
    code: ast.AST

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.code))

    @cached_property
    def local(self) -> set[str]:
        """Names bound inside: they are none of the module's."""
        bound = {
            n.id for n in self.nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        return bound | {n.arg for n in self.nodes if isinstance(n, ast.arg)}

    @cached_property
    def called(self) -> set[str]:
        functions = [node.func for node in self.nodes if isinstance(node, ast.Call)]
        plain = {f.id for f in functions if isinstance(f, ast.Name)}
        return plain | {f.attr for f in functions if isinstance(f, ast.Attribute)}

    @cached_property
    def names(self) -> set[str]:
        return {n.id for n in self.nodes if isinstance(n, ast.Name)} - self.local

    @cached_property
    def attributes(self) -> set[tuple[str, str]]:
        """`a.b`: (a, b)."""
        return {
            (n.value.id, n.attr)
            for n in self.nodes
            if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
            if n.value.id not in self.local or n.value.id == "self"
        }

    @cached_property
    def texts(self) -> str:
        found = (n.value for n in self.nodes if isinstance(n, ast.Constant))
        return " ".join(value for value in found if isinstance(value, str))


@dataclass
class Module:
    """A source file: its units, what it calls other modules, its names for tables, its doors."""

    where: str
    tree: ast.Module
    doors: set[str] = field(default_factory=set)

    @cached_property
    def units(self) -> list[Unit]:
        found = []
        for node in self.tree.body:
            for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    found.append(Unit(inner.name, inner))
                elif isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
                    found.append(Unit(inner.targets[0].id, inner.value))
                elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                    found.append(Unit(inner.target.id, inner.value or inner))
        return found

    @cached_property
    def imported(self) -> dict[str, tuple[str, str]]:
        """Name here → (module, name there)."""
        return {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    @cached_property
    def aliases(self) -> set[str]:
        """`tasks, inputs = core(ComputeTask).c, core(ComputeTaskInput).c` makes both names of tables."""
        found = set(TABLES.classes)
        for node in self.tree.body:
            if isinstance(node, ast.Assign):
                targets, values = _elements(node.targets[0]), _elements(node.value)
                for target, value in zip(targets, values, strict=False):
                    named = {n.id for n in ast.walk(value) if isinstance(n, ast.Name)}
                    if isinstance(target, ast.Name) and "core" in named and TABLES.classes & named:
                        found.add(target.id)
        return found


def _elements(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


class Lint:
    """Queries of assets that go past the door, over some modules by their dotted names."""

    def __init__(self, modules: dict[str, Module]) -> None:
        self._modules = modules
        more = True
        while more:  # a door is what calls `visible`, and whatever is built on a door
            more = False
            for module in modules.values():
                for unit in module.units:
                    if unit.name not in module.doors and self._passes(module, unit):
                        module.doors.add(unit.name)
                        more = True

    def past(self) -> set[str]:
        return {
            f"{module.where} {unit.name}"
            for module in self._modules.values()
            for unit in module.units
            if self._asks(module, unit) and not self._passes(module, unit)
        }

    def _passes(self, module: Module, unit: Unit) -> bool:
        if "visible" in unit.called:
            return True
        if unit.names & module.doors:
            return True
        return any(self._is_door(module, *pair) for pair in unit.attributes) or any(
            self._in(*module.imported[name]) for name in unit.names if name in module.imported
        )

    def _is_door(self, module: Module, owner: str, name: str) -> bool:
        if owner == "self":
            return name in module.doors
        package, imported = module.imported.get(owner, ("", ""))
        return self._in(f"{package}.{imported}", name)

    def _in(self, module: str, name: str) -> bool:
        return module in self._modules and name in self._modules[module].doors

    def _asks(self, module: Module, unit: Unit) -> bool:
        if STATEMENTS & unit.called and TABLES.names & set(re.findall(r"\w+", unit.texts)):
            return True
        return bool(QUERIES & unit.called) and self._of_tables(module, unit)

    def _of_tables(self, module: Module, unit: Unit) -> bool:
        if module.aliases & unit.names:
            return True
        for owner, name in unit.attributes:
            package, imported = module.imported.get(owner, ("", ""))
            other = self._modules.get(f"{package}.{imported}")
            if other is not None and name in other.aliases:
                return True
        return False


def sources() -> Iterator[Path]:
    for path in sorted(FOLDER.rglob("*.py")):
        if path.name not in NOT_REQUESTS:
            yield path


def modules() -> dict[str, Module]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): Module(
            str(path.relative_to(FOLDER)), ast.parse(path.read_text("utf-8"))
        )
        for path in sources()
    }


def test_every_query_of_assets_goes_through_the_door() -> None:
    past = Lint(modules()).past()
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


OPEN = (
    "tasks = core(ComputeTask).c\ndef page(): return select(tasks.key).where(visible(tasks, 'c'))\n"
)
HOLES = {
    "a plain query": "def shut(): return select(tasks.key)",
    "a local name like a door's": "def shut(c): page = c.execute(select(tasks.key)); return page",
    "an argument named like a door": "def shut(page): return select(tasks.key).limit(page)",
    "a table of parts": "parts = core(ComputeTaskInput).c\ndef shut(): return select(parts.task_key)",
    "SQL as a text": "def shut(s): return s.execute(text('SELECT key FROM compute_task'))",
    "SQL of the driver": "def shut(s): return s.exec_driver_sql(f'DELETE FROM model WHERE key = {1}')",
    "a session's get": "def shut(s): return s.get(ComputeTask, 1)",
    "a table of another module": (
        "from backend.assets.tasks import store as far\ndef shut(): return select(far.tasks.key)"
    ),
    "a constant": "shut = select(tasks.key)",
    "a method": "class A:\n def shut(self): return exists(select(tasks.key))",
    "another object's method like a door": "def shut(s): s.page(); return select(tasks.key)",
}


@pytest.mark.parametrize("hole", HOLES)
def test_the_lint_sees_a_query_past_the_door(hole: str) -> None:
    known = modules()
    tree = ast.parse(OPEN + HOLES[hole] + "\n")
    known["backend.assets.new"] = Module("new.py", tree)
    past = Lint(known).past()
    assert {found for found in past if found.startswith("new.py")} == {"new.py shut"}


TABLE = Table("asset", MetaData(), Column("channel", String))


@pytest.mark.parametrize("table", [TABLE, TABLE.c])
def test_visible_is_the_channel(table: object) -> None:
    assert str(visible(table, "mychannel")) == "asset.channel = :channel_1"
    prepared = visible(table, bindparam("channel", type_=String))
    assert str(prepared) == "asset.channel = :channel"
