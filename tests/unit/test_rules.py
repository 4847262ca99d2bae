"""House rules that a machine can check; docs/design/rules.md says why each is there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSES = [
    "backend",
    "bench",
    "cli",
    "kuberay",
    "network",
    "orchestrator",
    "protos",
    "ray_jobs",
    "tests",
]
MOST_LINES = 400
VAGUE_NAMES = {"utils", "helpers", "common", "misc", "manager2"}
STUB = re.compile(r"raise NotImplemented" + r"Error|\b(?:TO" + r"DO|FIX" + r"ME)\b")
SKIP = re.compile(r"pytest\.mark\.(?:skip|xfail)|pytest\.skip" + r"\(")
CHECKS = re.compile(r"assert|raises|check|expect|verify|must_|compare")


def sources(*houses: str) -> Iterator[Path]:
    """Hand-written Python files: generated stubs are left out."""
    for house in houses or HOUSES:
        for path in sorted((ROOT / house).rglob("*.py")):
            if not path.stem.endswith(("_pb2", "_pb2_grpc")):
                yield path


def where(path: Path, line: int | None = None) -> str:
    place = str(path.relative_to(ROOT))
    return place if line is None else f"{place}:{line}"


def matches(pattern: re.Pattern[str], *houses: str) -> list[str]:
    return [
        where(path, number)
        for path in sources(*houses)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]


def test_modules_have_one_subject() -> None:
    long = [where(p) for p in sources() if len(p.read_text("utf-8").splitlines()) > MOST_LINES]
    assert long == []


def test_modules_have_telling_names() -> None:
    assert [where(path) for path in sources() if path.stem in VAGUE_NAMES] == []


def test_nothing_is_left_as_a_stub() -> None:
    assert matches(STUB) == []


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    assert matches(SKIP, "tests") == []


def test_every_test_checks_something() -> None:
    empty = [
        where(path, node.lineno)
        for path in sources("tests")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_") and not CHECKS.search(ast.unparse(node))
    ]
    assert empty == []


@pytest.mark.parametrize("house", ["backend", "cli", "network", "orchestrator", "ray_jobs"])
def test_public_module_says_what_it_is_for(house: str) -> None:
    silent = [
        where(path)
        for path in sources(house)
        if path.read_text("utf-8").strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_readme_names_only_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = {
        target
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
        for target in re.findall(r"`make ([a-z0-9-]+)", path.read_text("utf-8"))
    }
    assert named
    assert named - targets == set()


def test_requirements_are_pinned_hashed_and_name_no_index() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text("utf-8")
        entries = re.split(r"\n(?=\S)", text.strip())
        assert entries
        assert [e.split()[0] for e in entries if "--hash=sha256:" not in e] == []
        assert [e.split()[0] for e in entries if not re.match(r"[\w.\-\[\],]+==\S+", e)] == []
        assert "://" not in text
