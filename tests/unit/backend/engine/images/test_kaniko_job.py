"""What a build in the cluster is given, and what it is not."""

import json
from dataclasses import replace
from typing import Any

from backend.engine.images.kaniko_job import (
    CAPABILITIES,
    BuildOptions,
    BuildSource,
    build_job,
    kaniko_arguments,
)

OPTIONS = BuildOptions(
    namespace="builds",
    registry="registry:5000",
    repository="substra/user-image",
    context_image="ours:1",
)
SOURCE = BuildSource(url="https://store/archive?signature=1", checksum="0123456789abcdef" * 4)


def spec(options: BuildOptions = OPTIONS) -> dict[str, Any]:
    found: dict[str, Any] = build_job(options, SOURCE)["spec"]["template"]["spec"]
    return found


def test_names_follow_from_the_archive_as_in_substra_1_0() -> None:
    job = build_job(OPTIONS, SOURCE)
    assert job["metadata"]["name"] == "kaniko-function-0123456789abcdef"
    labels = job["metadata"]["labels"]
    assert labels["substra.ai/pod-type"] == "image-build"
    assert labels["substra.ai/pod-name"] == "kaniko-function-0123456789abcdef"
    assert job["spec"]["template"]["metadata"]["labels"] == labels
    assert (
        "--destination=registry:5000/substra/user-image:function-0123456789abcdef"
        in kaniko_arguments(OPTIONS, SOURCE)
    )


def test_build_is_limited_in_time_and_never_restarted_by_itself() -> None:
    job = build_job(OPTIONS, SOURCE)["spec"]
    assert (job["backoffLimit"], job["activeDeadlineSeconds"]) == (0, 3600)
    assert spec()["restartPolicy"] == "Never"
    assert "activeDeadlineSeconds" not in build_job(replace(OPTIONS, timeout_s=0), SOURCE)["spec"]


def test_user_code_gets_no_token_no_archive_url_and_only_kanikos_capabilities() -> None:
    pod = spec(replace(OPTIONS, docker_config_secret="login", authority_secret="ca"))
    kaniko = pod["containers"][0]
    assert pod["automountServiceAccountToken"] is False
    assert SOURCE.url not in json.dumps(kaniko)
    assert kaniko["securityContext"]["privileged"] is False
    assert kaniko["securityContext"]["allowPrivilegeEscalation"] is False
    assert kaniko["securityContext"]["capabilities"] == {
        "drop": ["ALL"],
        "add": list(CAPABILITIES),
    }
    assert all(mount["readOnly"] for mount in kaniko["volumeMounts"])
    assert not any("hostPath" in volume for volume in pod["volumes"])


def test_context_container_satisfies_the_restricted_profile() -> None:
    security = spec()["initContainers"][0]["securityContext"]
    assert security["runAsNonRoot"]
    assert security["readOnlyRootFilesystem"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert spec()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_plain_registry_mirror_and_further_flags() -> None:
    plain = replace(OPTIONS, scheme="http", mirror=True, extra_arguments=("--use-new-run",))
    arguments = kaniko_arguments(plain, SOURCE)
    assert {"--insecure", "--insecure-pull", "--registry-mirror=registry:5000"} <= set(arguments)
    assert arguments[-1] == "--use-new-run"
    assert not {"--insecure", "--insecure-pull"} & set(kaniko_arguments(OPTIONS, SOURCE))


def test_secrets_are_mounted_only_when_they_are_named() -> None:
    assert [volume["name"] for volume in spec()["volumes"]] == ["context"]
    pod = spec(replace(OPTIONS, docker_config_secret="login", authority_secret="ca"))
    assert {volume["name"] for volume in pod["volumes"]} == {
        "context",
        "docker-config",
        "authority",
    }
    mounted = {mount["name"] for mount in pod["initContainers"][0]["volumeMounts"]}
    assert mounted == {"context", "authority"}


def test_placement_and_pull_secret() -> None:
    toleration = {"key": "builds", "operator": "Exists"}
    placed = replace(
        OPTIONS, node_selector={"disk": "fast"}, tolerations=(toleration,), pull_secret="pull"
    )
    pod = spec(placed)
    assert pod["nodeSelector"] == {"disk": "fast"}
    assert pod["tolerations"] == [toleration]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert not {"nodeSelector", "tolerations", "imagePullSecrets"} & set(spec())
