"""Which operations change a list of worker groups."""

from typing import Any

import pytest

from kuberay import building
from kuberay.errors import Conflict
from kuberay.groups import appended, bounded, emptied, position, removed, without_pod
from kuberay.shapes import PodTemplate, RayCluster, WorkerGroup

TEMPLATE: PodTemplate = {"spec": {"containers": []}}


def group(name: str, replicas: int = 0, maximum: int = 3, **fields: Any) -> WorkerGroup:
    made = building.worker_group(name, TEMPLATE, maximum=maximum)
    made["replicas"] = replicas
    made.update(fields)  # type: ignore[typeddict-item]
    return made


def cluster(*groups: WorkerGroup) -> RayCluster:
    spec = building.cluster_spec(building.head_group(TEMPLATE), groups, ray_version="2.60.0")
    return building.ray_cluster("demo", spec)


def test_a_group_is_added_at_the_end() -> None:
    new = group("b")
    assert appended(cluster(group("a")), new) == [
        {"op": "add", "path": "/spec/workerGroupSpecs/-", "value": new}
    ]


def test_the_first_group_makes_the_list() -> None:
    new = group("a")
    assert appended(cluster(), new) == [
        {"op": "add", "path": "/spec/workerGroupSpecs", "value": [new]}
    ]


def test_a_group_that_is_there_is_left_alone() -> None:
    assert appended(cluster(group("a", 2)), group("a")) == []


def test_groups_are_found_by_name() -> None:
    assert position(cluster(group("a"), group("b")), "b") == 1
    assert position(cluster(group("a")), "b") is None


@pytest.mark.parametrize(
    ("replicas", "bounds", "changed"),
    [
        (1, (0, 3), {}),
        (1, (0, 5), {"maxReplicas": 5}),
        (3, (0, 2), {"maxReplicas": 2, "replicas": 2}),
        (0, (1, 3), {"minReplicas": 1, "replicas": 1}),
        (2, (0, 0), {"maxReplicas": 0, "replicas": 0}),
    ],
)
def test_bounds_touch_replicas_only_where_they_must(
    replicas: int, bounds: tuple[int, int], changed: dict[str, int]
) -> None:
    operations = bounded(cluster(group("x"), group("a", replicas)), "a", *bounds)
    assert {str(o["path"]): o["value"] for o in operations} == {
        f"/spec/workerGroupSpecs/1/{name}": value for name, value in changed.items()
    }


def test_an_unknown_group_is_not_changed() -> None:
    seen = cluster(group("a"))
    assert bounded(seen, "b", 0, 1) == []
    assert emptied(seen, "b", ["p"]) == []
    assert without_pod(seen, "b", "p") == []
    assert removed(seen, "b") == []


def test_an_emptied_group_names_its_pods_for_deletion() -> None:
    operations = emptied(cluster(group("a", 2)), "a", ["p2", "p1"])
    assert operations[-1] == {
        "op": "add",
        "path": "/spec/workerGroupSpecs/0/scaleStrategy",
        "value": {"workersToDelete": ["p1", "p2"]},
    }
    again = cluster(group("a", 0, 0, scaleStrategy={"workersToDelete": ["p1", "p2"]}))
    assert emptied(again, "a", ["p2", "p1"]) == []


def test_one_pod_leaves_with_its_place() -> None:
    seen = cluster(group("a", 2, scaleStrategy={"workersToDelete": ["p0"]}))
    assert [(o["path"], o["value"]) for o in without_pod(seen, "a", "p1")] == [
        ("/spec/workerGroupSpecs/0/replicas", 1),
        ("/spec/workerGroupSpecs/0/scaleStrategy", {"workersToDelete": ["p0", "p1"]}),
    ]
    assert without_pod(seen, "a", "p0") == []


def test_a_warm_minimum_gets_a_new_pod_for_the_one_that_leaves() -> None:
    seen = cluster(group("a", 1, minReplicas=1))
    assert without_pod(seen, "a", "p1")[0]["value"] == 1


def test_only_an_emptied_group_is_removed() -> None:
    assert removed(cluster(group("x"), group("a", 0, 0)), "a") == [
        {"op": "remove", "path": "/spec/workerGroupSpecs/1"}
    ]
    with pytest.raises(Conflict):
        removed(cluster(group("a", 0, 1)), "a")
