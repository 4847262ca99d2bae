"""What the container image holds, as a CycloneDX document: `python requirements/sbom.py` prints it.

From the pinned requirements, of which the image installs exactly these bytes (pip's --require-hashes). The same
requirements give the same document. System packages of the base image are its own supplier's to list.
"""

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)(?:\s*;\s*([^\\]+))?")


def pins(text: str) -> list[tuple[str, str, str]]:
    """Name, version and marker (or nothing) of each package of a compiled file, in its order."""
    entries = re.split(r"\n(?=\S)", text.strip())
    found = [PIN.match(entry) for entry in entries]
    return [
        (match[1].lower(), match[2], (match[3] or "").strip())
        for match in found
        if match is not None
    ]


def document(requirements: str, dockerfile: str, project: dict[str, Any]) -> dict[str, Any]:
    """The whole of it. Raises LookupError for a Dockerfile that names no base image."""
    base = re.search(r"^ARG PYTHON_IMAGE=(\S+):(\S+)$", dockerfile, re.M)
    if base is None:
        raise LookupError("PYTHON_IMAGE")
    root = _package(project["name"], project["version"], "application")
    components = [
        {
            "type": "container",
            "bom-ref": "base-image",
            "name": base[1],
            "version": base[2],
            "scope": "required",
        },
        *(_pinned(*pin) for pin in pins(requirements)),
    ]
    depends = {"ref": root["bom-ref"], "dependsOn": [part["bom-ref"] for part in components]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, json.dumps(components))}",
        "version": 1,
        "metadata": {
            "component": {**root, "licenses": [{"license": {"id": project["license"]}}]},
        },
        "components": components,
        "dependencies": [depends],
    }


def _package(name: str, version: str, kind: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{name.replace('_', '-')}@{version}"
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _pinned(name: str, version: str, marker: str) -> dict[str, Any]:
    found = {**_package(name, version, "library"), "scope": "optional" if marker else "required"}
    if marker:
        found["properties"] = [{"name": "python:marker", "value": marker}]
    return found


def made() -> dict[str, Any]:
    """That of this tree."""
    return document(
        (ROOT / "requirements" / "base.txt").read_text("utf-8"),
        (ROOT / "Dockerfile").read_text("utf-8"),
        tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"],
    )


if __name__ == "__main__":
    sys.stdout.write(json.dumps(made(), indent=2) + "\n")
