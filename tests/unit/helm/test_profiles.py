"""skaffold.yaml and the files of values: each profile fits the schemas, and is the network that it says."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from backend.settings import Settings
from tests.unit.helm.profiles import (
    ROOT,
    Release,
    merged,
    profiles,
    releases,
    with_profiles,
)

SETS = [(), *((name,) for name in profiles()), ("three-orgs", "monitoring", "servermedias")]
NAMED = {
    *("dev", "single-org", "three-orgs", "isolated", "servermedias", "spread-workers"),
    *("node-selectors", "arm64", "external-registry", "monitoring"),
}


def organizations(names: tuple[str, ...]) -> dict[str, Release]:
    return {it.name: it for it in releases(names) if it.chart == "substra-backend"}


def test_profiles_are_those_that_are_promised() -> None:
    assert set(profiles()) == NAMED


@pytest.mark.parametrize("names", SETS, ids=lambda names: "+".join(names) or "none")
def test_values_of_each_release_fit_the_schema(names: tuple[str, ...]) -> None:
    found = releases(names)
    assert found
    for release in found:
        folder = ROOT / "helm" / release.chart
        defaults = yaml.safe_load((folder / "values.yaml").read_text("utf-8"))
        schema = json.loads((folder / "values.schema.json").read_text("utf-8"))
        jsonschema.Draft7Validator(schema).validate(merged(defaults, release.values))


def test_each_file_of_values_is_used() -> None:
    used = {
        file
        for name in ("", *profiles())
        for entry in with_profiles([name] if name else [])["deploy"]["helm"]["releases"]
        for file in entry["valuesFiles"]
    }
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "helm/values").rglob("*.yaml")}
    assert used == there


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("single-org", ["orchestrator-org-1", "backend-org-1"]),
        ("isolated", ["backend-org-1"]),
        (
            "three-orgs",
            ["orchestrator-org-1", "backend-org-1", "backend-org-2", "backend-org-3"],
        ),
    ],
)
def test_profile_has_these_releases(profile: str, expected: list[str]) -> None:
    assert [release.name for release in releases([profile])] == expected


def test_names_users_and_channels_are_those_of_the_tutorials() -> None:
    found = organizations(("three-orgs",))
    for n in (1, 2, 3):
        release = found[f"backend-org-{n}"]
        values = release.values
        assert release.namespace == f"org-{n}"
        assert values["organizationName"] == f"MyOrg{n}"
        assert values["orchestrator"]["mspID"] == f"MyOrg{n}MSP"
        assert values["server"]["commonHostDomain"] == f"org-{n}.com"
        assert values["server"]["ingress"]["hostname"] == f"substra-backend.org-{n}.com"
        users = {user["name"]: user for user in values["addAccountOperator"]["users"]}
        assert set(users) == {f"org-{n}", f"org-{n}-yourchannel"}
        assert {user["secret"] for user in users.values()} == {f"p@sswr0d{43 + n}"}
        assert users[f"org-{n}-yourchannel"]["channel"] == "yourchannel"
        announced = f"http://backend-org-{n}-substra-backend-server.org-{n}:8000"
        assert values["server"]["defaultDomain"] == announced


def test_what_one_sends_is_what_the_other_expects() -> None:
    found = {
        release.values["orchestrator"]["mspID"]: release.values["addAccountOperator"]
        for release in organizations(("three-orgs",)).values()
    }

    def secrets(of: str, direction: str) -> dict[str, str]:
        return {entry["name"]: entry["secret"] for entry in found[of][direction]}

    for caller in found:
        for called in found:
            sent = secrets(caller, "outgoingOrganizations")[called]
            assert secrets(called, "incomingOrganizations")[caller] == sent
    assert secrets("MyOrg2MSP", "incomingOrganizations")["MyOrg1MSP"] == "organizationSecret2w1"
    assert secrets("MyOrg3MSP", "incomingOrganizations")["MyOrg3MSP"] == "selfSecret3"


def test_settings_given_by_name_are_settings() -> None:
    given = {
        name
        for names in SETS
        for release in organizations(names).values()
        for name in release.values.get("config", {})
    }
    assert given
    assert given - set(Settings.model_fields) == set()


def files() -> list[Path]:
    return sorted((ROOT / "helm/values").rglob("*.yaml"))


@pytest.mark.parametrize("file", files(), ids=lambda file: file.stem)
def test_each_file_says_what_it_is_for(file: Path) -> None:
    text = file.read_text("utf-8")
    parsed: dict[str, Any] = yaml.safe_load(text)
    assert parsed
    assert text.startswith("# ") or file.stem.endswith("-ledger")
