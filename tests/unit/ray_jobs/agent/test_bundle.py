"""What enters a function's container."""

import ast
import sys
from pathlib import Path

import pytest

from ray_jobs.agent import bundle

HOUSE = Path(bundle.__file__).parents[1]


def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("name", ["__init__.py", "places.py", "server.py"])
def test_the_agent_needs_the_standard_library_and_inner_alone(name: str) -> None:
    own = ("ray_jobs.agent", "ray_jobs.inner")
    wrong = [
        module
        for module in imported(HOUSE / "agent" / name)
        if module.split(".")[0] not in sys.stdlib_module_names and not module.startswith(own)
    ]
    assert wrong == []


def test_the_bundle_holds_no_more_than_the_agent(tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    bundle.build(folder)
    ours = {path.relative_to(folder / "ours") for path in (folder / "ours").rglob("*.py")}
    inner = {path.relative_to(HOUSE.parent) for path in (HOUSE / "inner").glob("*.py")}
    names = ("__init__.py", "places.py", "server.py", "warm.py")
    agent = {Path("ray_jobs/agent") / name for name in names}
    assert ours == inner | agent | {Path("ray_jobs/__init__.py")}
    assert list(folder.rglob("site-packages")) == []
    assert (folder / "lib64/ld.so").stat().st_mode & 0o111


def test_the_command_runs_through_the_bundled_loader() -> None:
    words = bundle.command("/substra/agent", {"socket": "/s"})
    assert words[0] == "/substra/agent/lib64/ld.so"
    assert words[-1] == '{"socket": "/s"}'
    assert {"-I", "-S"} <= set(words)


def test_a_folder_that_is_filled_is_not_filled_again(tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    bundle.build(folder)
    with pytest.raises(FileExistsError):
        bundle.build(folder)
