"""The pod of a function image: what it has, and above all what it has not."""

import json
from typing import Any

import pytest

from backend.engine.compute.cluster.template import (
    BASE,
    PLUGINS,
    FunctionImage,
    Placement,
    PodShape,
    group_of,
    session_token,
)
from ray_jobs.agent import bundle
from ray_jobs.pod import plugin, session

DIGEST = "0123456789abcdef" + "0" * 48
IMAGE = FunctionImage(f"registry:5000/user@sha256:{DIGEST}", "/home/user", ("python3", "f.py"))


def pod(image: FunctionImage = IMAGE, **shape: Any) -> dict[str, Any]:
    made = group_of(image, PodShape("runner:1", **shape), cluster="compute", maximum=4)
    return made["template"]["spec"]


def container(spec: dict[str, Any], name: str) -> dict[str, Any]:
    return next(c for c in spec["containers"] if c["name"] == name)


def mounts(container: dict[str, Any]) -> dict[str, bool]:
    """Mount path -> writable."""
    return {m["mountPath"]: not m.get("readOnly", False) for m in container["volumeMounts"]}


def test_a_group_is_named_by_its_image_and_offers_one_place_a_pod() -> None:
    made = group_of(IMAGE, PodShape("runner:1"), cluster="compute", maximum=4, warm=1)
    assert made["groupName"] == IMAGE.group == "fn-0123456789abcdef"
    assert (made["replicas"], made["minReplicas"], made["maxReplicas"]) == (1, 1, 4)
    assert "fn-0123456789abcdef" in made["rayStartParams"]["resources"]


@pytest.mark.parametrize("reference", ["user:latest", "user@sha256:123", "@sha256:" + DIGEST])
def test_an_image_without_a_digest_is_refused(reference: str) -> None:
    with pytest.raises(ValueError, match="digest"):
        FunctionImage(reference)


def test_no_container_has_a_way_to_the_cluster_or_to_more_rights() -> None:
    spec = pod()
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["restartPolicy"] == "Never"
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["securityContext"]["runAsNonRoot"] is True
    for each in (*spec["initContainers"], *spec["containers"]):
        security = each["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["allowPrivilegeEscalation"] is False
        assert security["runAsUser"] >= 1000
        assert each["resources"]["limits"]["memory"]


def test_the_function_sees_its_own_places_only() -> None:
    function = container(pod(), "function")
    assert function["image"] == IMAGE.reference
    assert function["securityContext"]["runAsUser"] == 1001
    assert function["securityContext"]["readOnlyRootFilesystem"] is True
    assert mounts(function) == {
        f"{BASE}/agent": False,
        f"{BASE}/socket": True,
        f"{BASE}/inputs": False,
        f"{BASE}/outputs": True,
        f"{BASE}/scratch": True,
        "/dev/shm": True,
        "/tmp": True,
    }
    assert "workingDir" not in function
    assert function["env"] == [
        {"name": "LD_PRELOAD", "value": ""},
        {"name": "LD_AUDIT", "value": ""},
    ]


def test_the_secret_is_the_runners_alone() -> None:
    spec = pod()
    runner = container(spec, "ray-worker")
    assert mounts(runner)[f"{BASE}/session"] is False
    assert runner["securityContext"]["runAsUser"] == 1000
    names = {v["name"]: v for v in spec["volumes"]}
    assert names["session"]["secret"]["secretName"] == "compute-fn-0123456789abcdef"
    assert set(names) >= {m["name"] for c in spec["containers"] for m in c["volumeMounts"]}


@pytest.mark.parametrize(
    ("image", "hidden"),
    [
        (FunctionImage(IMAGE.reference, "/tmp/app"), False),
        (FunctionImage(IMAGE.reference, "/", ("/tmp/run.sh",)), False),
        (FunctionImage(IMAGE.reference, "/", (), (("PATH", "/usr/bin:/tmp/bin"),)), False),
        (FunctionImage(IMAGE.reference, "/tmpfiles"), True),
    ],
)
def test_an_images_own_tmp_is_not_hidden(image: FunctionImage, hidden: bool) -> None:
    spec = pod(image)
    function = container(spec, "function")
    assert ("/tmp" in mounts(function)) is hidden
    assert any(v["name"] == "tmp" for v in spec["volumes"]) is hidden
    assert ("/tmp" in json.loads(function["command"][-1])["writable"]) is hidden


def test_values_place_pods() -> None:
    placed = Placement(
        node_selector={"gpu": "yes"},
        tolerations=({"key": "gpu", "operator": "Exists"},),
        affinity={"nodeAffinity": {}},
        runtime_class="gvisor",
        image_pull_secrets=("registry",),
        priority_class="low",
    )
    spec = pod(placement=placed, function_limits={"memory": "1Gi", "nvidia.com/gpu": "1"})
    assert spec["nodeSelector"] == {"gpu": "yes"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert spec["affinity"] == {"nodeAffinity": {}}
    assert spec["runtimeClassName"] == "gvisor"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["priorityClassName"] == "low"
    assert container(spec, "function")["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "affinity" not in pod()


def test_what_the_images_hold_is_named_the_same_here() -> None:
    function = container(pod(), "function")
    configuration = json.loads(function["command"][-1])
    assert function["command"] == bundle.command(f"{BASE}/agent", configuration)
    assert str(session.BASE) == BASE
    assert plugin.SETTING == PLUGINS
    assert configuration["image"] == IMAGE.reference


def test_both_sides_make_the_same_token() -> None:
    key = bytes(32)
    assert session_token(key, "a-session") == session.token(key, "a-session")
    assert session_token(key, "another") != session.token(key, "a-session")
