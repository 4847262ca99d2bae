"""What the image holds, listed: every pin once, and the same requirements give the same document."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "requirements" / "sbom.py"


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    specification = importlib.util.spec_from_file_location("sbom", PLACE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_pin_is_a_component_once(sbom: ModuleType) -> None:
    text = (ROOT / "requirements" / "base.txt").read_text("utf-8")
    expected = re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*?\])?==([^\s;\\]+)", text, re.M)
    found = sbom.made()["components"]
    libraries = [(part["name"], part["version"]) for part in found if part["type"] == "library"]
    assert libraries == [(name.lower(), version) for name, version in expected]
    assert len({part["bom-ref"] for part in found}) == len(found) > 50


def test_markers_extras_and_names(sbom: ModuleType) -> None:
    text = "A_b[x,y]==1.0 ; sys_platform == 'linux' \\\n    --hash=sha256:00\nc==2 \\\n    --hash=sha256:11\n"
    project = {"name": "it", "version": "3", "license": "Apache-2.0"}
    found = sbom.document(text, "ARG PYTHON_IMAGE=docker.io/library/python:3.12-slim\n", project)
    base, first, second = found["components"]
    assert (base["name"], base["version"]) == ("docker.io/library/python", "3.12-slim")
    assert first["purl"] == "pkg:pypi/a-b@1.0"
    assert first["scope"] == "optional"
    assert first["properties"] == [{"name": "python:marker", "value": "sys_platform == 'linux'"}]
    assert (second["purl"], second["scope"]) == ("pkg:pypi/c@2", "required")
    assert found["dependencies"][0]["dependsOn"] == [
        "base-image",
        "pkg:pypi/a-b@1.0",
        "pkg:pypi/c@2",
    ]


def test_a_dockerfile_without_a_base_is_refused(sbom: ModuleType) -> None:
    with pytest.raises(LookupError):
        sbom.document("", "FROM scratch", {"name": "it", "version": "3", "license": "x"})


def test_program_prints_the_same_document_each_time() -> None:
    texts = {
        subprocess.run([sys.executable, str(PLACE)], capture_output=True, text=True).stdout
        for _ in range(2)
    }
    assert len(texts) == 1
    found = json.loads(texts.pop())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", found["serialNumber"])
