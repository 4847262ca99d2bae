"""The values of the charts: defaults fit their schema, every value is used, and mistakes are refused.

Rendering needs helm, which not every machine has: tests/cluster/charts does it.
"""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from backend.settings import Settings

CHARTS = Path(__file__).parents[3] / "helm"
NAMES = sorted(path.parent.name for path in CHARTS.glob("*/Chart.yaml"))


def values(chart: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHARTS / chart / "values.yaml").read_text("utf-8"))
    return found


def schema(chart: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHARTS / chart / "values.schema.json").read_text("utf-8"))
    return found


def leaves(tree: dict[str, Any], before: str = "") -> list[str]:
    """Dotted names of all values that are not groups of others."""
    found: list[str] = []
    for name, value in tree.items():
        path = f"{before}.{name}" if before else name
        found += leaves(value, path) if isinstance(value, dict) and value else [path]
    return found


def properties(found: dict[str, Any], before: str = "") -> list[str]:
    """The same names, out of a schema; free-form objects are leaves."""
    names: list[str] = []
    for name, inner in found.get("properties", {}).items():
        path = f"{before}.{name}" if before else name
        names += properties(inner, path) if inner.get("properties") else [path]
    return names


def refusals(chart: str, change: dict[str, Any]) -> list[str]:
    def merged(old: Any, new: Any) -> Any:
        if not (isinstance(old, dict) and isinstance(new, dict)):
            return new
        return {**old, **{name: merged(old.get(name), value) for name, value in new.items()}}

    validator = jsonschema.Draft7Validator(schema(chart))
    return [error.json_path for error in validator.iter_errors(merged(values(chart), change))]


def test_there_are_two_charts() -> None:
    assert NAMES == ["substra-backend", "substra-orchestrator"]


@pytest.mark.parametrize("chart", NAMES)
def test_defaults_fit_the_schema_which_is_one(chart: str) -> None:
    jsonschema.Draft7Validator.check_schema(schema(chart))
    assert refusals(chart, {}) == []


@pytest.mark.parametrize("chart", NAMES)
def test_schema_and_defaults_name_the_same_values(chart: str) -> None:
    named = {name for name in properties(schema(chart)) if name != "global"}
    known = set(leaves(values(chart)))
    below = {name for name in known if any(name.startswith(f"{other}.") for other in named)}
    assert known - named - below == set()
    assert {
        name
        for name in named - known
        if not any(other.startswith(f"{name}.") for other in known)
        and name.rpartition(".")[0] not in known
    } == set()


@pytest.mark.parametrize("chart", NAMES)
def test_every_value_is_used_by_a_template(chart: str) -> None:
    text = "".join(
        path.read_text("utf-8") for path in sorted((CHARTS / chart / "templates").rglob("*.*"))
    )
    words = set(re.findall(r"\w+", text))
    unused = [name for name in properties(schema(chart)) if name.rpartition(".")[2] not in words]
    # What is handed on whole, with `toYaml`, is used by its group's name.
    handed_on = ("resources.requests", "resources.limits", "global")
    assert [name for name in unused if not name.endswith(handed_on)] == []


@pytest.mark.parametrize(
    ("chart", "change", "place"),
    [
        ("substra-orchestrator", {"replicas": 2}, "$"),
        ("substra-orchestrator", {"service": {"port": 0}}, "$.service.port"),
        ("substra-backend", {"server": {"replicaCount": 0}}, "$.server.replicaCount"),
        ("substra-orchestrator", {"channels": [{"name": "c"}]}, "$.channels[0]"),
        ("substra-orchestrator", {"database": {"sslMode": "yes"}}, "$.database.sslMode"),
        (
            "substra-orchestrator",
            {"orchestrator": {"tls": {"mtls": {"clientCACerts": {"a/b": []}}}}},
            "$.orchestrator.tls.mtls.clientCACerts",
        ),
        ("substra-backend", {"orchestrator": {"mspID": "My Org"}}, "$.orchestrator.mspID"),
        ("substra-backend", {"server": {"defaultDomain": "org-1.com"}}, "$.server.defaultDomain"),
        ("substra-backend", {"objectStore": {"url": "https://s3/bucket"}}, "$.objectStore.url"),
        ("substra-backend", {"config": {"SECRET_KEY": "x"}}, "$.config"),
        ("substra-backend", {"config": {"DATABASE_PASSWORD": "x"}}, "$.config"),
        (
            "substra-backend",
            {"addAccountOperator": {"users": [{"name": "a b", "secret": "s", "channel": "c"}]}},
            "$.addAccountOperator.users[0].name",
        ),
    ],
)
def test_mistakes_are_refused(chart: str, change: dict[str, Any], place: str) -> None:
    assert refusals(chart, change) == [place]


def test_chart_sets_only_settings_that_exist() -> None:
    text = (CHARTS / "substra-backend" / "templates" / "_names.tpl").read_text("utf-8")
    settings = text.partition('define "backend.settings"')[2]
    named = set(re.findall(r'"([A-Z][A-Z0-9_]+)"', settings))
    assert len(named) > 25
    assert named - set(Settings.model_fields) == set()
