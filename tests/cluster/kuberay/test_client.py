"""The client against a real API server with KubeRay's definitions; no pod is started."""

import threading
from typing import Any

import pytest
from kubernetes import client, config

from kuberay import building
from kuberay.errors import AlreadyExists, Conflict, Deadline, Forbidden, Gone, Invalid, NotFound
from kuberay.groups import WorkerGroups, groups_of
from kuberay.resources import RAY_CLUSTERS, RAY_JOBS, RAY_SERVICES, Resource
from kuberay.shapes import PodTemplate, RayCluster
from kuberay.transport import Connection

WAIT_S = 60.0
TEMPLATE: PodTemplate = {"spec": {"containers": [{"name": "ray", "image": "ray:1"}]}}


def cluster(name: str, *groups: str) -> RayCluster:
    """A suspended cluster: the operator makes no pods for it."""
    made = building.cluster_spec(
        building.head_group(TEMPLATE),
        [building.worker_group(group, TEMPLATE, resources={group: 1}) for group in groups],
        ray_version="2.60.0",
        scaling=building.autoscaler(),
    )
    made["suspend"] = True
    return building.ray_cluster(name, made, labels={"app": "test"})


@pytest.fixture(scope="module")
def clusters(connection: Connection, namespace: str) -> Resource[RayCluster]:
    return Resource(connection, RAY_CLUSTERS, namespace)


def test_apply_creates_changes_and_removes_what_it_stops_saying(
    clusters: Resource[RayCluster],
) -> None:
    made = clusters.apply(cluster("apply", "fn-a"), manager="one")
    assert made["metadata"]["uid"]
    assert [g["groupName"] for g in groups_of(made)] == ["fn-a"]
    body = cluster("apply", "fn-a", "fn-b")
    body["spec"]["autoscalerOptions"]["idleTimeoutSeconds"] = 7
    changed = clusters.apply(body, manager="one")
    assert changed["spec"]["autoscalerOptions"]["idleTimeoutSeconds"] == 7
    assert [g["groupName"] for g in groups_of(changed)] == ["fn-a", "fn-b"]
    body["metadata"]["labels"] = {}
    assert "app" not in clusters.apply(body, manager="one")["metadata"].get("labels", {})


def test_a_field_of_another_manager_is_a_conflict_unless_forced(
    clusters: Resource[RayCluster],
) -> None:
    clusters.apply(cluster("owned"), manager="one")
    body = cluster("owned")
    body["spec"]["rayVersion"] = "2.61.0"
    with pytest.raises(Conflict, match="conflict"):
        clusters.apply(body, manager="two")
    assert clusters.apply(body, manager="two", force=True)["spec"]["rayVersion"] == "2.61.0"


def test_a_patch_of_a_stale_object_is_a_conflict(clusters: Resource[RayCluster]) -> None:
    seen = clusters.create(cluster("patched"))
    operation = {"op": "replace", "path": "/spec/rayVersion", "value": "2.60.1"}
    newer = clusters.patch(seen, [operation])
    assert newer["spec"]["rayVersion"] == "2.60.1"
    with pytest.raises(Conflict):
        clusters.patch(seen, [operation])
    with pytest.raises(Invalid):
        clusters.patch(clusters.get("patched"), [{"op": "remove", "path": "/spec/nothing"}])
    with pytest.raises(Invalid):
        clusters.patch(
            clusters.get("patched"), [{"op": "replace", "path": "/spec/rayVersion", "value": 7}]
        )


def test_many_changes_at_once_all_come_about(clusters: Resource[RayCluster]) -> None:
    clusters.create(cluster("crowded", "fn-0"))

    groups = WorkerGroups(clusters._connection, clusters._path.split("/")[5], "crowded")
    new = [building.worker_group(f"fn-{number}", TEMPLATE) for number in range(1, 5)]
    threads = [threading.Thread(target=groups.append, args=(group,)) for group in new]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    names = {g["groupName"] for g in groups_of(clusters.get("crowded"))}
    assert names == {f"fn-{number}" for number in range(5)}


def test_names_are_taken_once_and_missed_when_gone(clusters: Resource[RayCluster]) -> None:
    made = clusters.create(cluster("once"))
    with pytest.raises(AlreadyExists):
        clusters.create(cluster("once"))
    with pytest.raises(Conflict):
        clusters.delete("once", uid="00000000-0000-0000-0000-000000000000")
    assert clusters.delete("once", uid=made["metadata"]["uid"]) is True
    clusters.wait_gone("once", for_s=WAIT_S)
    assert clusters.delete("once") is False
    with pytest.raises(NotFound):
        clusters.get("once")


def test_what_is_no_cluster_is_invalid(clusters: Resource[RayCluster]) -> None:
    body: Any = cluster("invalid", "fn-a")
    body["spec"]["workerGroupSpecs"][0]["replicas"] = "many"
    with pytest.raises(Invalid):
        clusters.create(body)


def look(clusters: Resource[RayCluster], seen: list[tuple[str, str]]) -> None:
    """Note what happens to the cluster `watched` until it is deleted."""
    for event in clusters.watch(name="watched", for_s=WAIT_S):
        seen.append((event.type, event.object["spec"].get("rayVersion", "")))
        if event.type == "DELETED":
            return


def test_a_watch_sees_all_that_happens(clusters: Resource[RayCluster]) -> None:
    seen: list[tuple[str, str]] = []
    thread = threading.Thread(target=look, args=(clusters, seen))
    thread.start()
    clusters.create(cluster("watched"))
    clusters.wait("watched", lambda o: o is not None, for_s=WAIT_S)
    clusters.merge("watched", {"spec": {"rayVersion": "2.60.9"}})
    clusters.delete("watched")
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert seen[0] == ("ADDED", "2.60.0")
    assert ("MODIFIED", "2.60.9") in seen
    assert seen[-1][0] == "DELETED"


def test_a_point_that_the_server_forgot_is_gone(clusters: Resource[RayCluster]) -> None:
    with pytest.raises(Gone):
        list(clusters._stream({}, "1", 5))


def test_waiting_has_a_deadline(clusters: Resource[RayCluster]) -> None:
    clusters.create(cluster("stays"))
    with pytest.raises(Deadline):
        clusters.wait_gone("stays", for_s=1)
    assert clusters.find("stays") is not None


def test_who_may_not_is_told_so(namespace: str) -> None:
    api = config.new_client_from_config()
    assert isinstance(api, client.ApiClient)
    api.set_default_header("Impersonate-User", "nobody-we-know")
    with pytest.raises(Forbidden, match="nobody-we-know"):
        Resource(Connection(api), RAY_CLUSTERS, namespace).all()


def test_jobs_and_services_are_as_the_server_wants_them(
    connection: Connection, namespace: str
) -> None:
    job = building.ray_job(
        "job",
        "echo",
        cluster="none",
        runtime_env={"env_vars": {"A": "b"}},
        resources={"fn-a": 1},
        metadata={"plan": "p"},
    )
    stored = Resource(connection, RAY_JOBS, namespace).apply(job, manager="one", dry_run=True)
    assert stored["spec"]["metadata"] == {"plan": "p"}
    spec = cluster("unused")["spec"]
    del spec["suspend"]
    service = building.ray_service("service", spec, {"applications": []})
    services = Resource(connection, RAY_SERVICES, namespace)
    assert services.apply(service, manager="one", dry_run=True)["metadata"]["name"] == "service"
    assert services.find("service") is None
