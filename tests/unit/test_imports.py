"""The arrows of docs/design/architecture.md: which house may know which, checked on the sources."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSES = {
    "protos": set[str](),
    "kuberay": set[str](),
    "ray_jobs": set[str](),
    "orchestrator": {"protos"},
    "backend": {"protos", "kuberay"},
    "network": {"backend", "protos"},
    "cli": {"backend", "kuberay", "network", "orchestrator", "protos", "ray_jobs"},
}
OURS = {*HOUSES, "bench", "tests"}
RUNNER_STARTER = "backend.engine.compute.local"  # the one module of the backend that knows ray_jobs

# Inside the backend: each room may import those before it, never back.
FLOORS = ["kit", "ports", "access", "assets", "engine"]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Every module that the file imports, at its top or inside a function, as an absolute name."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def sources(house: str) -> list[Path]:
    return sorted((ROOT / house).rglob("*.py"))


@pytest.mark.parametrize("house", HOUSES)
def test_house_imports_only_whom_it_may_know(house: str) -> None:
    wrong = [
        f"{module_name(path)} imports {name}"
        for path in sources(house)
        for name in imported(path)
        if (other := name.split(".")[0]) in OURS - HOUSES[house] - {house}
        and not (other == "ray_jobs" and module_name(path) == RUNNER_STARTER)
    ]
    assert wrong == []


@pytest.mark.parametrize("floor", FLOORS)
def test_backend_floor_never_imports_a_higher_one(floor: str) -> None:
    above = {f"backend.{name}" for name in FLOORS[FLOORS.index(floor) + 1 :]}
    wrong = [
        f"{module_name(path)} imports {name}"
        for path in sources(f"backend/{floor}")
        for name in imported(path)
        if ".".join(name.split(".")[:2]) in above
    ]
    assert wrong == []


def test_what_enters_users_images_needs_only_the_standard_library() -> None:
    inner = sources("ray_jobs/inner")
    own = {path.stem for path in inner} | {"ray_jobs"}
    wrong = [
        f"{module_name(path)} imports {name}"
        for path in inner
        for name in imported(path)
        if name.split(".")[0] not in sys.stdlib_module_names | own
    ]
    assert inner
    assert wrong == []


def test_application_does_not_import_ray() -> None:
    """`create_app` runs under plain uvicorn and in tests, where Ray would cost 2 s and 150 MB."""
    modules = {module_name(path): path for path in sources("backend")}
    waiting, seen = ["backend.app"], set[str]()
    wrong: list[str] = []
    while waiting:
        name = waiting.pop()
        if name in seen or name not in modules:
            continue
        seen.add(name)
        for other in imported(modules[name]):
            if other.split(".")[0] == "ray":
                wrong.append(f"{name} imports {other}")
            waiting.append(other)
    assert "backend.app" in seen
    assert wrong == []


def test_command_line_imports_lazily() -> None:
    """`substra-ray --help` answers at once: the heavy houses are imported inside the commands."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, cli.main; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    heavy = {"backend", "fastapi", "network", "orchestrator", "ray", "sqlalchemy", "substra"}
    assert "cli.main" in loaded
    assert heavy & set(loaded) == set()
