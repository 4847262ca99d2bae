"""skaffold.yaml as skaffold reads it: the releases of a profile, and the values that each gets."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
VARIABLES = {
    "{{.IMAGE_REPO_substra_ray}}": "registry.example/substra-ray",
    "{{.IMAGE_TAG_substra_ray}}@{{.IMAGE_DIGEST_substra_ray}}": "1@sha256:" + "0" * 64,
    "{{.NODE_ADDRESS}}": "192.0.2.10",
}


@dataclass(frozen=True)
class Release:
    name: str
    namespace: str
    chart: str
    values: dict[str, Any]
    """What is given beside the chart's defaults."""


def profiles() -> list[str]:
    return [profile["name"] for profile in configuration()["profiles"]]


def configuration() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text("utf-8"))
    return found


def with_profiles(names: Sequence[str]) -> dict[str, Any]:
    """The configuration that `skaffold --profile NAMES` works with."""
    found = configuration()
    known = {profile["name"]: profile for profile in found.pop("profiles")}
    for name in names:
        for patch in known[name]["patches"]:
            apply(found, **deepcopy(patch))
    return found


def releases(names: Sequence[str]) -> list[Release]:
    return [_release(entry) for entry in with_profiles(names)["deploy"]["helm"]["releases"]]


def apply(tree: Any, *, op: str, path: str, value: Any = None) -> None:
    """One operation of a JSON patch, on `tree` itself. Raises LookupError for a path that is not there."""
    *way, last = path.strip("/").split("/")
    for step in way:
        tree = tree[int(step)] if isinstance(tree, list) else tree[step]
    if isinstance(tree, list) and op == "add":
        tree.insert(len(tree) if last == "-" else int(last), value)
        return
    key: Any = int(last) if isinstance(tree, list) else last
    if op == "add":
        tree[key] = value
        return
    tree[key]
    if op == "replace":
        tree[key] = value
    elif op == "remove":
        del tree[key]
    else:
        raise ValueError(op)


def merged(old: Any, new: Any) -> Any:
    """As helm lays one file of values over another."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {**old, **{name: merged(old.get(name), value) for name, value in new.items()}}


def _release(entry: dict[str, Any]) -> Release:
    values: dict[str, Any] = {}
    for file in entry["valuesFiles"]:
        values = merged(values, yaml.safe_load((ROOT / file).read_text("utf-8")))
    for name, template in entry.get("setValueTemplates", {}).items():
        said: Any = VARIABLES[template]
        for part in reversed(name.split(".")):
            said = {part: said}
        values = merged(values, said)
    chart = Path(entry["chartPath"]).name
    return Release(entry["name"], entry["namespace"], chart, values)
