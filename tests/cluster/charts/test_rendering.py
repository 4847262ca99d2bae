"""The charts rendered in many ways, each object shown to the real API server, which would take it."""

import json
from typing import Any

import pytest

from kuberay.transport import Connection
from tests.cluster.charts.helm import CHARTS, KUBERNETES, NAMES, helm, rendered
from tests.cluster.charts.taking import taken
from tests.cluster.charts.variants import VARIANTS, merged, values, variant


@pytest.mark.parametrize(("chart", "name", "change"), VARIANTS)
def test_api_server_takes_every_object(
    connection: Connection, chart: str, name: str, change: dict[str, Any]
) -> None:
    found = taken(connection, rendered(chart, values(chart, change)))
    kinds = {document["kind"] for document in found}
    assert {"Deployment", "Service", "ServiceAccount"} <= kinds


@pytest.mark.parametrize(("chart", "name", "change"), VARIANTS)
def test_pods_are_shut_in(chart: str, name: str, change: dict[str, Any]) -> None:
    found = rendered(chart, values(chart, change))
    specs = [
        document["spec"] if document["kind"] == "Pod" else document["spec"]["template"]["spec"]
        for document in found
        if document["kind"] in ("Deployment", "Job", "Pod")
        if "-pull-" not in document["metadata"]["name"]  # Kaniko, in the builds' namespace
    ]
    assert specs
    tokens = [spec["serviceAccountName"] for spec in specs if spec["automountServiceAccountToken"]]
    assert tokens in ([], ["it-substra-backend-control"])
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_rights_are_of_builds_only() -> None:
    found = rendered("substra-backend", variant("substra-backend", "most"))
    roles = [document for document in found if document["kind"] in ("Role", "ClusterRole")]
    assert [role["kind"] for role in roles] == ["Role"]
    rights = {
        (resource, verb)
        for rule in roles[0]["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert rights == {
        *(("jobs", "create"), ("jobs", "get"), ("jobs", "delete")),
        *(("pods", "get"), ("pods", "list"), ("pods/log", "get")),
    }


def test_rights_in_the_compute_namespace_are_of_its_pool_only() -> None:
    compute = {"compute": {"enabled": True, "namespace": "compute"}}
    registry = {"containerRegistry": {"host": "registry"}}
    found = rendered("substra-backend", values("substra-backend", {**compute, **registry}))
    roles = [document for document in found if document["kind"] in ("Role", "ClusterRole")]
    assert [(role["kind"], role["metadata"]["namespace"]) for role in roles] == [
        ("Role", "compute")
    ]
    assert [
        (rule["resources"], rule.get("resourceNames"), rule["verbs"]) for rule in roles[0]["rules"]
    ] == [
        (["rayclusters"], ["it-compute"], ["get", "patch"]),
        (["pods"], None, ["list", "delete"]),
        (["secrets"], None, ["get", "create", "delete"]),
    ]


def test_pods_of_the_rayservice_are_shut_in_too() -> None:
    found = rendered("substra-backend", variant("substra-backend", "on Serve"))
    services = [document["spec"] for document in found if document["kind"] == "RayService"]
    assert len(services) == 1
    cluster = services[0]["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token"}
    specs = [
        group["template"]["spec"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
    ]
    assert [spec["automountServiceAccountToken"] for spec in specs] == [True, False]
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert "secret" not in services[0]["serveConfigV2"].lower()


def test_heads_find_their_state_in_redis_and_may_reach_it() -> None:
    found = rendered("substra-backend", variant("substra-backend", "heads with Redis"))
    clusters = [document["spec"] for document in found if document["kind"] == "RayCluster"]
    clusters += [
        document["spec"]["rayClusterConfig"]
        for document in found
        if document["kind"] == "RayService"
    ]
    assert len(clusters) == 2
    for cluster in clusters:
        options = cluster["gcsFaultToleranceOptions"]
        assert options["redisAddress"] == "rediss://redis.data:6380"
        assert options["redisPassword"] == {
            "valueFrom": {"secretKeyRef": {"name": "redis", "key": "REDIS_PASSWORD"}}
        }
    policies = [
        document
        for document in found
        if document["kind"] == "NetworkPolicy" and document["metadata"]["name"].endswith("-gcs")
    ]
    assert {policy["metadata"]["namespace"] for policy in policies} == {
        "default",
        "default-compute",
    }
    for policy in policies:
        assert {"ports": [{"port": 6380, "protocol": "TCP"}]} in policy["spec"]["egress"]


def test_dashboards_of_both_clusters_are_named_and_their_token_is_one() -> None:
    found = rendered("substra-backend", variant("substra-backend", "dashboard"))
    tokens = {
        document["metadata"]["name"]: document["data"]["auth_token"]
        for document in found
        if document["kind"] == "Secret" and "auth_token" in document.get("data", {})
    }
    assert set(tokens) == {"it-compute", "it-substra-backend-ray-token"}
    assert len(set(tokens.values())) == 1
    service = next(document["spec"] for document in found if document["kind"] == "RayService")
    options = service["rayClusterConfig"]["authOptions"]
    assert options == {"mode": "token", "secretName": "it-substra-backend-ray-token"}
    settings = next(
        json.loads(document["data"]["settings.json"])
        for document in found
        if document["metadata"]["name"] == "it-substra-backend-settings"
    )
    assert settings["RAY_DASHBOARDS"] == {
        "compute": "http://it-compute-head-svc.default-compute.svc:8265",
        "api": "http://it-substra-backend-api-head-svc:8265",
    }
    assert "auth_token" not in json.dumps(settings).replace("/ray-token/auth_token", "")


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({}, "baseline"),
        (
            {"buildkit": {"seccompProfile": {"type": "Unconfined"}}},
            "privileged",
        ),
        ({"builder": {"kind": "kaniko"}}, "baseline"),
    ],
)
def test_namespace_of_builds_is_as_strict_as_the_builder_allows(
    change: dict[str, Any], level: str
) -> None:
    changed = merged(variant("substra-backend", "BuildKit"), change)
    found = rendered("substra-backend", changed)
    labels = [
        document["metadata"]["labels"] for document in found if document["kind"] == "Namespace"
    ]
    assert [label["pod-security.kubernetes.io/enforce"] for label in labels] == [level]


def test_gateway_sends_uploads_and_runners_to_the_plain_deployment() -> None:
    found = rendered("substra-backend", variant("substra-backend", "on Serve"))
    routes = [document["spec"]["rules"] for document in found if document["kind"] == "HTTPRoute"]
    assert len(routes) == 1
    plain, serve = routes[0]
    assert {match["path"]["value"] for match in plain["matches"]} == {
        f"/org-1/{name}" for name in ("function", "data_manager", "data_sample", "runner", "task")
    }
    assert plain["backendRefs"][0]["name"] == "it-substra-backend-server"
    assert serve["backendRefs"][0]["name"] == "it-substra-backend-api-serve-svc"


def test_development_reloads_under_a_debugger_and_only_our_processes_may_write() -> None:
    change = {"development": {"enabled": True, "debuggerPort": 5679}}
    small = variant("substra-backend", "small services")
    found = rendered("substra-backend", merged(small, change))
    containers = {
        document["metadata"]["name"].removeprefix("it-substra-backend-"): container
        for document in found
        if document["kind"] == "Deployment"
        for container in document["spec"]["template"]["spec"]["containers"]
    }
    for name, module in (("server", "backend.asgi"), ("control", "backend.engine.actors")):
        *watch, command, place = containers[name]["command"]
        assert (watch, place) == (["watchfiles", "--filter", "python"], "/src")
        assert command.startswith(f"python -m debugpy --listen 127.0.0.1:5679 -m {module} ")
    writable = {
        name
        for name, container in containers.items()
        if not container["securityContext"]["readOnlyRootFilesystem"]
    }
    assert writable == {"server", "control"}


def test_small_store_has_a_name_that_other_namespaces_know() -> None:
    """Pods of builds and of functions get addresses of its files."""
    given = values("substra-backend", {"minio": {"enabled": True}})
    documents = rendered("substra-backend", given, "org-1")
    (settings,) = (it for it in documents if it["metadata"]["name"].endswith("-settings"))
    found = json.loads(settings["data"]["settings.json"])["OBJECTSTORE_URL"]
    assert found.endswith("-minio.org-1.svc:9000")


@pytest.mark.parametrize("chart", NAMES)
def test_lint(chart: str) -> None:
    assert "0 chart(s) failed" in helm(
        "lint", "--strict", str(CHARTS / chart), values=values(chart, {})
    )


@pytest.mark.parametrize(
    ("chart", "change", "words"),
    [
        ("substra-orchestrator", {"database": {"host": ""}}, "database.host"),
        (
            "substra-orchestrator",
            {"orchestrator": {"verifyClientMSPID": True}},
            "needs orchestrator.tls.mtls.enabled",
        ),
        ("substra-orchestrator", {"unknown": 1}, "unknown"),
        ("substra-backend", {"organizationName": ""}, "organizationName"),
        ("substra-backend", {"config": {"SECRET_KEY": "x"}}, "SECRET_KEY"),
    ],
)
def test_what_is_missing_or_wrong_is_said(chart: str, change: dict[str, Any], words: str) -> None:
    version = ("--kube-version", KUBERNETES)
    said = helm(
        "template", "it", str(CHARTS / chart), *version, values=values(chart, change), fails=True
    )
    assert words in said
