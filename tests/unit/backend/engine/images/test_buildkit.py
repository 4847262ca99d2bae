"""BuildKit without root: its flags, its daemon's configuration, its rights, its complaints."""

import subprocess
import tomllib
from dataclasses import replace
from typing import Any

import pytest

from backend.engine.images.build_job import BuildOptions
from backend.engine.images.buildkit import (
    CAPABILITIES,
    BuildKit,
    buildctl_arguments,
    daemon_configuration,
)
from tests.unit.backend.engine.images.test_build_job import OPTIONS, SOURCE


def container(options: BuildOptions = OPTIONS) -> dict[str, Any]:
    pod = BuildKit().job(options, SOURCE)["spec"]["template"]["spec"]
    found: dict[str, Any] = pod["containers"][0]
    return found


def variables(options: BuildOptions = OPTIONS) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(options)["env"]}


def test_nothing_is_root() -> None:
    security = container()["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 1000)
    assert security["capabilities"] == {"drop": ["ALL"], "add": list(CAPABILITIES)}


def test_profiles_of_the_node_may_confine_it() -> None:
    assert container()["securityContext"]["seccompProfile"] == {"type": "Unconfined"}
    profile = {"type": "Localhost", "localhostProfile": "buildkit.json"}
    security = container(replace(OPTIONS, security={"seccompProfile": profile}))["securityContext"]
    assert security["seccompProfile"] == profile
    assert "appArmorProfile" not in security


def test_registry_of_the_daemon_plain_or_as_a_mirror() -> None:
    plain = tomllib.loads(daemon_configuration(replace(OPTIONS, scheme="http", mirror=True)))
    assert plain["registry"] == {
        "registry:5000": {"http": True},
        "docker.io": {"mirrors": ["registry:5000"]},
    }
    assert "registry" not in tomllib.loads(daemon_configuration(OPTIONS))
    assert variables()["BUILDKITD_TOML"] == daemon_configuration(OPTIONS)


def test_cache_lies_beside_the_images() -> None:
    assert variables()["CACHE"] == "registry:5000/substra/user-image/cache"
    assert "ignore-error=true" in variables()["CACHE_FORM"]


def test_proxies_reach_pulls_and_run_lines() -> None:
    options = replace(OPTIONS, environment={"https_proxy": "http://proxy:1", "OTHER": "x"})
    assert variables(options)["https_proxy"] == "http://proxy:1"
    arguments = buildctl_arguments(options, SOURCE)
    assert [argument for argument in arguments if "build-arg" in argument] == [
        "--opt=build-arg:https_proxy=http://proxy:1"
    ]


def test_its_script_is_one() -> None:
    script = container()["command"][2]
    done = subprocess.run(["sh", "-n", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


FAILED_LINE = (
    'error: failed to solve: process "/bin/sh -c echo connection refused; false" did not complete '
    "successfully: exit code: 1\n"
)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (
            "error: failed to solve: registry:5000/a:1: failed to resolve source metadata for "
            "registry:5000/a:1: dial tcp: lookup registry: no such host\n",
            True,
        ),
        (
            "error: failed to solve: failed to push registry:5000/a:1: unexpected status from PUT "
            "request to http://registry:5000/v2/a: 503 Service Unavailable\n",
            True,
        ),
        ("#6 0.1 curl: connection refused\n" + FAILED_LINE, False),
        (
            "error: failed to solve: dockerfile parse error on line 2: unknown instruction: B\n",
            False,
        ),
        ("error: failed to solve: registry:5000/none:1: not found\n", False),
        ("", False),
    ],
)
def test_network_is_blamed_only_by_the_builders_own_words(log: str, expected: bool) -> None:
    assert BuildKit().blames_network(log) is expected
