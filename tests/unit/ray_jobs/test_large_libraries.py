"""What makes a function with large libraries cheap: few pages, and old modules that nobody touches."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from ray_jobs.inner import script
from ray_jobs.learned import Learned

COLLAPSED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from ray_jobs.inner import pages
kept = [bytearray(os.urandom(1 << 12) * 1024) for _ in range(4)]
before = [bytes(each) for each in kept]
pages.collapse()
child = os.fork()
if child == 0:
    os._exit(0 if [bytes(each) for each in kept] == before else 1)
print(os.waitpid(child, 0)[1], [bytes(each) for each in kept] == before)
"""


def test_memory_in_larger_pages_holds_what_it_held(pytestconfig: pytest.Config) -> None:
    command = [sys.executable, "-c", COLLAPSED, str(pytestconfig.rootpath)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == ["0", "True"]


class Untouched(dict[str, ModuleType]):
    """Modules of which `seen` names were looked at."""

    def __init__(self, names: list[str]) -> None:
        super().__init__((name, _module(name)) for name in names)
        self.seen: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for name in super().__iter__():
            self.seen.append(name)
            yield name

    def __reversed__(self) -> Iterator[str]:
        for name in super().__reversed__():
            self.seen.append(name)
            yield name


def _module(name: str) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = f"/environment/{name}.py"
    return module


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Untouched:
    found = Untouched(["__main__", "large", "large.part"])
    monkeypatch.setattr(
        script, "sys", SimpleNamespace(modules=found, prefix="/p", base_prefix="/p")
    )
    return found


def test_modules_that_were_there_before_are_not_looked_at(modules: Untouched) -> None:
    before = frozenset(modules)
    modules["new"], modules["new.part"] = _module("new"), _module("new.part")
    modules.seen.clear()
    learned, _ = script.gained(before, len(before), "/environment")
    assert learned == ["new", "new.part"]
    assert modules.seen == ["new.part", "new", "large.part"]


def test_new_modules_are_found_when_a_script_loads_an_old_one_again(modules: Untouched) -> None:
    before = frozenset(modules)
    modules["new"] = _module("new")
    modules["large"] = modules.pop("large")
    modules["later"] = _module("later")
    learned, _ = script.gained(before, len(before), "/environment")
    assert learned == ["new", "later"]


def test_names_of_a_library_of_a_thousand_modules_are_learned_by_two_tasks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A report holds what fits a pipe; scikit-learn alone has more modules than were once kept in all."""
    names = [f"package.part{number}.some_module_of_a_long_name" for number in range(1500)]
    found = {name: _of_package(name) for name in ("__main__", *names)}
    monkeypatch.setattr(
        script, "sys", SimpleNamespace(modules=found, prefix="/p", base_prefix="/p")
    )
    learned = Learned(tmp_path)
    first, _own = script.gained(frozenset(), 0, "/environment")
    assert len(json.dumps(first)) < 60_000
    learned.add("key", first)
    second, _own = script.gained(frozenset(first), 0, "/environment")
    assert learned.add("key", second) == names
    assert learned.names("key") == names


def _of_package(name: str) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = f"/environment/{name.replace('.', '/')}.py"
    return module
