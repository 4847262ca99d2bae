"""Kaniko's flags and rights."""

from dataclasses import replace

from backend.engine.images.kaniko import CAPABILITIES, Kaniko, kaniko_arguments
from tests.unit.backend.engine.images.test_build_job import OPTIONS, SOURCE


def test_only_kanikos_capabilities() -> None:
    pod = Kaniko().job(OPTIONS, SOURCE)["spec"]["template"]["spec"]
    security = pod["containers"][0]["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"], "add": list(CAPABILITIES)}


def test_plain_registry_and_mirror() -> None:
    plain = replace(OPTIONS, scheme="http", mirror=True)
    arguments = set(kaniko_arguments(plain, SOURCE))
    assert {"--insecure", "--insecure-pull", "--registry-mirror=registry:5000"} <= arguments
    assert not {"--insecure", "--insecure-pull"} & set(kaniko_arguments(OPTIONS, SOURCE))
