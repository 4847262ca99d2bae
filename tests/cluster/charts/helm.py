"""helm, as these tests call it."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).parents[3] / "helm"
KUBERNETES = "1.34.0"
"""helm asks no cluster for a template, and one that was built from its sources knows no version."""
NAMES = ("substra-orchestrator", "substra-backend")


def helm(*arguments: str, values: Mapping[str, Any] | None = None, fails: bool = False) -> str:
    """What helm prints; asserts that it succeeds (or not: then its complaint)."""
    program = shutil.which("helm")
    assert program, "no helm on PATH: docs/development.md says how to get the lab's"
    command = [program, *arguments]
    if values is not None:
        command += ["--values", "-"]
    text = json.dumps(values) if values is not None else None
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert (done.returncode != 0) is fails, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stderr if fails else done.stdout


def rendered(
    chart: str, values: Mapping[str, Any], namespace: str = "default", release: str = "it"
) -> list[Any]:
    """The objects of a chart."""
    place = ("--namespace", namespace, "--kube-version", KUBERNETES)
    text = helm("template", release, str(CHARTS / chart), *place, values=values)
    return [document for document in yaml.safe_load_all(text) if document]
