"""Objects as KubeRay wants them."""

import json
import shlex

import pytest

from kuberay import building
from kuberay.shapes import PodTemplate

TEMPLATE: PodTemplate = {"spec": {"containers": [{"name": "ray", "image": "ray:1"}]}}


def test_custom_resources_survive_the_shell_and_the_autoscaler() -> None:
    group = building.worker_group("fn-a", TEMPLATE, resources={"fn-a": 1, "x": 2}, maximum=3)
    text = group["rayStartParams"]["resources"]
    (word,) = shlex.split(text)
    assert json.loads(word) == {"fn-a": 1, "x": 2}
    assert json.loads(text[1:-1].replace("\\", "")) == {
        "fn-a": 1,
        "x": 2,
    }  # as the autoscaler reads it


@pytest.mark.parametrize(
    "resources", [{"a b": 1}, {"it's": 1}, {'"': 1}, {"$x": 1}, {"a": 0.5}, {"a": True}]
)
def test_resources_that_would_be_damaged_are_refused(resources: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no custom resource"):
        building.worker_group("a", TEMPLATE, resources=resources)


def test_a_group_starts_with_its_minimum() -> None:
    group = building.worker_group("warm", TEMPLATE, minimum=2, maximum=4, idle_timeout_s=30)
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (2, 2, 4)
    assert group["idleTimeoutSeconds"] == 30


@pytest.mark.parametrize(("minimum", "maximum"), [(-1, 1), (2, 1)])
def test_contradicting_bounds_are_refused(minimum: int, maximum: int) -> None:
    with pytest.raises(ValueError, match="replicas"):
        building.worker_group("a", TEMPLATE, minimum=minimum, maximum=maximum)


def test_clusters_say_that_they_want_a_token() -> None:
    head = building.head_group(TEMPLATE)
    spec = building.cluster_spec(head, ray_version="2.60.0", token_secret="mine")
    assert spec["authOptions"] == {"mode": "token", "secretName": "mine"}
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "enableInTreeAutoscaling" not in spec


def test_the_autoscaler_is_version_two_and_looks_every_second() -> None:
    spec = building.cluster_spec(
        building.head_group(TEMPLATE), ray_version="2.60.0", scaling=building.autoscaler()
    )
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert {"name": "AUTOSCALER_UPDATE_INTERVAL_S", "value": "1"} in spec["autoscalerOptions"][
        "env"
    ]


def test_a_job_has_a_cluster_or_the_specification_of_one() -> None:
    spec = building.cluster_spec(building.head_group(TEMPLATE), ray_version="2.60.0")
    job = building.ray_job(
        "a", "true", cluster="demo", runtime_env={"x": 1}, resources={"fn": 1}, metadata={"k": "v"}
    )
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": "demo"}
    assert json.loads(job["spec"]["runtimeEnvYAML"]) == {"x": 1}
    assert json.loads(job["spec"]["entrypointResources"]) == {"fn": 1}
    assert building.ray_job("b", "true", spec=spec)["spec"]["shutdownAfterJobFinishes"] is True
    with pytest.raises(ValueError, match="cluster"):
        building.ray_job("c", "true")
    with pytest.raises(ValueError, match="cluster"):
        building.ray_job("d", "true", cluster="demo", spec=spec)


def test_a_service_carries_its_serve_configuration() -> None:
    spec = building.cluster_spec(building.head_group(TEMPLATE), ray_version="2.60.0")
    service = building.ray_service("s", spec, {"applications": []}, labels={"a": "b"})
    assert json.loads(service["spec"]["serveConfigV2"]) == {"applications": []}
    assert service["metadata"] == {"name": "s", "labels": {"a": "b"}}
