"""What a build in the cluster is given, and what it is not, whoever builds."""

import json
from dataclasses import replace
from typing import Any

import pytest

from backend.engine.images.build_job import BuildOptions, BuildSource, Recipe
from backend.engine.images.buildkit import BuildKit
from backend.engine.images.kaniko import Kaniko

OPTIONS = BuildOptions(
    namespace="builds",
    registry="registry:5000",
    repository="substra/user-image",
    context_image="ours:1",
    image="builder:1",
)
SOURCE = BuildSource(url="https://store/archive?signature=1", checksum="0123456789abcdef" * 4)
SECRETS = replace(OPTIONS, docker_config_secret="login", authority_secret="ca")
both = pytest.mark.parametrize("recipe", [Kaniko(), BuildKit()], ids=lambda it: it.container)


def spec(recipe: Recipe, options: BuildOptions = OPTIONS) -> dict[str, Any]:
    found: dict[str, Any] = recipe.job(options, SOURCE)["spec"]["template"]["spec"]
    return found


@both
def test_names_follow_from_the_archive_as_in_substra_1_0(recipe: Recipe) -> None:
    job = recipe.job(OPTIONS, SOURCE)
    assert job["metadata"]["name"] == f"{recipe.container}-function-0123456789abcdef"
    labels = job["metadata"]["labels"]
    assert labels["substra.ai/pod-type"] == "image-build"
    assert labels["substra.ai/pod-name"] == job["metadata"]["name"]
    assert job["spec"]["template"]["metadata"]["labels"] == labels
    arguments = spec(recipe)["containers"][0]["args"]
    place = "registry:5000/substra/user-image:function-0123456789abcdef"
    assert len([argument for argument in arguments if place in argument]) == 1


@both
def test_build_is_limited_in_time_and_never_restarted_by_itself(recipe: Recipe) -> None:
    job = recipe.job(OPTIONS, SOURCE)["spec"]
    assert (job["backoffLimit"], job["activeDeadlineSeconds"]) == (0, 3600)
    assert spec(recipe)["restartPolicy"] == "Never"
    unlimited = recipe.job(replace(OPTIONS, timeout_s=0), SOURCE)["spec"]
    assert "activeDeadlineSeconds" not in unlimited


@both
def test_user_code_gets_no_token_and_no_archive_url(recipe: Recipe) -> None:
    pod = spec(recipe, SECRETS)
    builder = pod["containers"][0]
    assert pod["automountServiceAccountToken"] is False
    assert SOURCE.url not in json.dumps(builder)
    assert builder["securityContext"]["privileged"] is False
    assert builder["securityContext"]["capabilities"]["drop"] == ["ALL"]
    writable = [mount["name"] for mount in builder["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ([] if recipe.container == "kaniko" else ["work"])
    assert not any("hostPath" in volume for volume in pod["volumes"])


@both
def test_context_container_satisfies_the_restricted_profile(recipe: Recipe) -> None:
    security = spec(recipe)["initContainers"][0]["securityContext"]
    assert security["runAsNonRoot"]
    assert security["readOnlyRootFilesystem"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert spec(recipe)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


@both
def test_secrets_are_mounted_only_when_they_are_named(recipe: Recipe) -> None:
    own = {volume["name"] for volume in spec(recipe)["volumes"]}
    assert not {"docker-config", "authority"} & own
    pod = spec(recipe, SECRETS)
    assert {volume["name"] for volume in pod["volumes"]} == own | {"docker-config", "authority"}
    assert {mount["name"] for mount in pod["initContainers"][0]["volumeMounts"]} == {
        "context",
        "authority",
    }
    variables = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
    mounted = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert variables["DOCKER_CONFIG"] in mounted
    assert mounted & set(variables["SSL_CERT_DIR"].split(":"))


@both
def test_placement_resources_and_pull_secret(recipe: Recipe) -> None:
    toleration = {"key": "builds", "operator": "Exists"}
    placed = replace(
        OPTIONS,
        node_selector={"disk": "fast"},
        tolerations=(toleration,),
        pull_secret="pull",
        resources={"limits": {"memory": "8Gi"}},
    )
    pod = spec(recipe, placed)
    assert pod["nodeSelector"] == {"disk": "fast"}
    assert pod["tolerations"] == [toleration]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["containers"][0]["resources"] == {"limits": {"memory": "8Gi"}}
    assert pod["containers"][0]["image"] == "builder:1"
    assert not {"nodeSelector", "tolerations", "imagePullSecrets"} & set(spec(recipe))


@both
def test_further_flags_come_last(recipe: Recipe) -> None:
    pod = spec(recipe, replace(OPTIONS, extra_arguments=("--one", "--two")))
    assert pod["containers"][0]["args"][-2:] == ["--one", "--two"]
