"""What the pool does in a small cluster; how a real one answers is tested in tests/cluster."""

import base64
from collections.abc import Iterator

import pytest

from backend.engine.compute.cluster.causes import Kind
from backend.engine.compute.cluster.planning import Demand
from backend.engine.compute.cluster.template import session_token
from backend.engine.compute.kuberay import KubeRayPool
from kuberay.errors import Unavailable
from tests.unit.backend.engine.compute.cluster.small_cluster import (
    SmallCluster,
    Told,
    image,
    options_in,
)

A, B = image("a"), image("b")


@pytest.fixture
def small() -> Iterator[SmallCluster]:
    made = SmallCluster()
    with made.server:
        yield made


def test_a_ready_function_gets_its_group_and_secret_ahead(small: SmallCluster) -> None:
    told = Told()
    told.known[A.group] = A
    pool = small.pool(told, pods=3)
    assert pool.turn() is True
    assert small.groups[A.group]["maxReplicas"] == 3
    secret = small.secrets[f"compute-{A.group}"]
    assert options_in(secret) == {"url": "http://api", "image": A.reference}
    assert small.jobs == {}
    assert pool.turn() is False


def test_a_plan_with_tasks_gets_a_session_for_each(small: SmallCluster) -> None:
    told = Told()
    told.want("plan", A, 2)
    pool = small.pool(told)
    pool.turn()
    pool.turn()
    assert len(small.jobs) == 2
    for name, job in small.jobs.items():
        id = name.removeprefix("substra-")  # noqa: A001
        assert job["entrypoint"] == f"python -m ray_jobs.pod {id} plan"
        assert job["entrypoint_resources"] == {A.group: 1}
        assert job["runtime_env"] == {"substra_image": A.reference}
        key = base64.b64decode(small.secrets[f"compute-{A.group}"]["data"]["key"])
        assert told.sessions[id] == ("plan", session_token(key, id))
        assert told.sessions[id][1] not in str(job)
    pool.turn()
    assert len(small.jobs) == 2


def test_a_new_pool_goes_on_where_another_one_died(small: SmallCluster) -> None:
    told = Told()
    told.want("plan", A)
    small.pool(told).turn()
    small.pool(told).turn()
    another = small.pool(told)
    another.turn()
    assert len(small.jobs) == 1
    assert len(told.sessions) == 1
    assert list(small.groups) == [A.group]


def serving(small: SmallCluster, told: Told, **options: int) -> tuple[str, KubeRayPool]:
    """A session that runs in pod `p1`."""
    told.want("plan", A)
    pool = small.pool(told, **options)
    pool.turn()
    pool.turn()
    (session,) = told.sessions
    small.groups[A.group]["replicas"] = 1
    small.start_pod(A.group, "p1")
    small.run_job(f"substra-{session}", "p1")
    return session, pool


def test_an_ended_sessions_pod_is_retired(small: SmallCluster) -> None:
    told = Told()
    session, _ = serving(small, told)
    told.wanted.clear()
    small.run_job(f"substra-{session}", "p1", "SUCCEEDED")
    pool = small.pool(told)
    pool.turn()
    group = small.groups[A.group]
    assert group["replicas"] == 0
    assert group["scaleStrategy"] == {"workersToDelete": ["p1"]}
    assert told.over == [(session, None)]
    assert small.jobs == {}


def test_a_pod_that_is_of_no_use_takes_its_session_with_it(small: SmallCluster) -> None:
    told = Told()
    session, _ = serving(small, told)
    killed = {"name": "function", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
    small.pods["p1"]["status"]["containerStatuses"] = [killed]
    small.pool(told).turn()
    assert [(s, c.kind) for s, c in told.over if c is not None] == [(session, Kind.MEMORY)]
    assert small.stopped == [f"substra-{session}"]
    assert small.groups[A.group]["scaleStrategy"] == {"workersToDelete": ["p1"]}
    assert len(told.sessions) == 2, "another session takes its place at once"


def test_a_deleted_pods_place_is_kept_and_its_session_replaced_at_once(small: SmallCluster) -> None:
    told = Told()
    session, pool = serving(small, told)
    small.pods["p1"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    small.stuck.add(f"substra-{session}")
    for _ in range(3):
        pool.turn()
    assert [(s, c.kind) for s, c in told.over if c is not None] == [(session, Kind.LOST)]
    assert len(told.over) == 1
    assert small.stopped == [f"substra-{session}"]
    assert small.groups[A.group]["replicas"] == 1
    assert small.groups[A.group].get("scaleStrategy") is None
    assert len(told.sessions) == 2
    small.pods.clear()
    pool.turn()
    assert len(told.sessions) == 2
    small.stuck.clear()
    small.jobs[f"substra-{session}"]["status"] = "FAILED"
    pool.turn()
    assert f"substra-{session}" not in small.jobs
    assert len(told.over) == 1


def test_a_new_pool_sees_that_a_pod_is_gone(small: SmallCluster) -> None:
    told = Told()
    session, _ = serving(small, told)
    small.pods.clear()
    small.stuck.add(f"substra-{session}")
    small.pool(told).turn()
    assert [(s, c.kind) for s, c in told.over if c is not None] == [(session, Kind.LOST)]
    assert len(told.sessions) == 2


def test_why_pods_do_not_come_is_told_and_taken_back(small: SmallCluster) -> None:
    told = Told()
    told.want("plan", A)
    pool = small.pool(told)
    pool.turn()
    waiting = {"name": "function", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    small.start_pod(A.group, "p1", phase="Pending", containerStatuses=[waiting])
    pool.turn()
    found = told.causes[A.group]
    assert found is not None
    assert found.kind is Kind.IMAGE
    assert small.groups[A.group].get("scaleStrategy") is None
    small.pods["p1"]["status"]["containerStatuses"] = []
    pool.turn()
    assert told.causes[A.group] is None


def test_the_oldest_group_makes_room_when_its_pods_are_gone(small: SmallCluster) -> None:
    told = Told()
    told.known[A.group] = A
    pool = small.pool(told, groups=1)
    pool.turn()
    small.observe()
    small.start_pod(A.group, "p1")
    told.want("plan", B)
    pool.turn()
    assert small.groups[A.group]["maxReplicas"] == 0
    assert small.groups[A.group]["scaleStrategy"] == {"workersToDelete": ["p1"]}
    small.observe()
    pool.turn()
    assert list(small.groups) == [A.group], "its pod would be orphaned"
    small.pods.clear()
    pool.turn()
    assert A.group not in small.groups
    assert f"compute-{A.group}" not in small.secrets
    pool.turn()
    assert list(small.groups) == [B.group]


def test_a_group_is_not_removed_before_the_operator_knows(small: SmallCluster) -> None:
    told = Told()
    told.known[A.group] = A
    pool = small.pool(told, groups=1)
    pool.turn()
    told.want("plan", B)
    pool.turn()
    pool.turn()
    assert small.groups[A.group]["maxReplicas"] == 0
    small.observe()
    pool.turn()
    assert A.group not in small.groups


def test_an_evicted_groups_function_comes_back(small: SmallCluster) -> None:
    told = Told()
    told.want("plan", A)
    pool = small.pool(told, groups=1)
    pool.turn()
    small.groups[A.group].update(minReplicas=0, maxReplicas=0, replicas=0)
    for _ in range(3):
        small.observe()
        pool.turn()
    assert small.groups[A.group]["maxReplicas"] == 4


def test_a_warm_pod_is_kept_beside_those_that_serve(small: SmallCluster) -> None:
    told = Told()
    _session, pool = serving(small, told, warm=1)
    pool.turn()
    assert small.groups[A.group]["minReplicas"] == 2


def test_a_cluster_out_of_reach_changes_nothing(small: SmallCluster) -> None:
    told = Told()
    pool = small.pool(told)
    told.wanted.append(Demand("plan", A.group, 1))
    small.away = True
    with pytest.raises(Unavailable):
        pool.turn()
    assert told.over == []
    assert told.sessions == {}


def test_an_empty_record_that_ray_wrote_anew_is_forgotten(small: SmallCluster) -> None:
    small.jobs["substra-ghost"] = {"submission_id": "substra-ghost", "status": "FAILED"}
    small.jobs["an-operators"] = {"submission_id": "an-operators", "status": "FAILED"}
    small.pool(Told()).turn()
    assert list(small.jobs) == ["an-operators"]


def test_a_head_without_its_autoscaler_makes_room_for_another(small: SmallCluster) -> None:
    small.start_pod("headgroup", "head")
    labels = small.pods["head"]["metadata"]["labels"]
    labels["ray.io/node-type"] = "head"
    running = {"name": "autoscaler", "state": {"running": {}}}
    small.pods["head"]["status"]["containerStatuses"] = [{"name": "ray-head"}, running]
    pool = small.pool(Told())
    pool.turn()
    assert "head" in small.pods
    running["state"] = {"terminated": {"exitCode": 1}}
    pool.turn()
    assert small.pods == {}
