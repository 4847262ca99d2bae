"""docs/values.md is what the charts' values say now."""

import importlib.util
import sys
from types import ModuleType

import pytest

from tests.unit.helm.profiles import ROOT


@pytest.fixture(scope="module")
def table() -> ModuleType:
    place = ROOT / "docs" / "values_table.py"
    specification = importlib.util.spec_from_file_location("values_table", place)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["values_table"] = module  # where its dataclass looks for itself
    specification.loader.exec_module(module)
    return module


def test_page_is_current(table: ModuleType) -> None:
    page = (ROOT / "docs" / "values.md").read_text("utf-8")
    assert page == table.page(), "make values"


def test_names_defaults_and_comments_are_found(table: ModuleType) -> None:
    text = """
# Of all.
first:
  second: 3  # inside
  third:
    - a: b
  #  - an: example
other: {}
"""
    found = [(value.name, value.default, value.says) for value in table.values(text)]
    assert found == [
        ("first", "", "Of all."),
        ("first.second", "3", "inside"),
        ("first.third", "- a: b", ""),
        ("other", "{}", ""),
    ]
