"""The charts rendered in many ways, each object shown to the real API server, which would take it."""

from typing import Any

import pytest

from kuberay.transport import Connection
from tests.cluster.charts.helm import CHARTS, KUBERNETES, NAMES, helm, rendered

ORCHESTRATOR: dict[str, Any] = {
    "channels": [{"name": "mychannel", "organizations": ["MyOrg1MSP", "MyOrg2MSP"]}],
    "database": {"host": "postgres", "credentialsSecretName": "database"},
}
BACKEND: dict[str, Any] = {
    "organizationName": "MyOrg1",
    "orchestrator": {"mspID": "MyOrg1MSP", "host": "ledger", "channels": [{"mychannel": {}}]},
    "database": {"host": "postgres", "auth": {"credentialsSecretName": "database"}},
    "objectStore": {"url": "http://minio:9000", "credentialsSecretName": "store"},
    "server": {"defaultDomain": "http://org-1"},
}
MONITORED = {"enabled": True, "serviceMonitor": {"enabled": True}}
VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("substra-orchestrator", "least", {}),
    (
        "substra-orchestrator",
        "most",
        {
            "imagePullSecrets": ["pull"],
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "priorityClassName": "system-cluster-critical",
            "podAnnotations": {"a": "b"},
            "orchestrator": {
                "verifyClientMSPID": True,
                "tls": {
                    "enabled": True,
                    "existingSecret": "tls",
                    "mtls": {"enabled": True, "clientCACerts": {"MyOrg1MSP": ["ca-1", "ca-2"]}},
                },
            },
            "database": {"sslMode": "verify-full", "sslRootCertSecretName": "database-ca"},
            "service": {"type": "NodePort", "annotations": {"a": "b"}},
            "ingress": {
                "enabled": True,
                "className": "c",
                "host": "ledger.org-1.com",
                "tlsSecretName": "t",
            },
            "gateway": {"enabled": True, "parentRefs": [{"name": "g"}], "hostnames": ["l.org"]},
            "metrics": MONITORED,
            "networkPolicy": {
                "from": [{"namespaceSelector": {}}],
                "metricsFrom": [{"namespaceSelector": {}}],
                "databaseTo": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
            },
            "serviceAccount": {"annotations": {"a": "b"}},
        },
    ),
    (
        "substra-orchestrator",
        "cert-manager",
        {
            "orchestrator": {
                "tls": {
                    "enabled": True,
                    "createCertificates": {
                        "enabled": True,
                        "domains": ["ledger.org-1.com"],
                        "issuer": {"kind": "ClusterIssuer", "name": "substra-issuer"},
                    },
                }
            }
        },
    ),
    ("substra-backend", "least", {}),
    (
        "substra-backend",
        "most",
        {
            "imagePullSecrets": ["pull"],
            "config": {"PAGINATION_MAX_PAGE_SIZE": 100, "CORS_ORIGIN_WHITELIST": ["http://a"]},
            "orchestrator": {
                "tls": {
                    "enabled": True,
                    "cacert": "ca",
                    "mtls": {"enabled": True, "clientCertificate": "client"},
                }
            },
            "objectStore": {"caSecretName": "store-ca", "pathStyle": True, "prefix": "org-1"},
            "server": {
                "replicaCount": 3,
                "subpath": "org-1",
                "commonHostDomain": "org-1.com",
                "secretKeySecretName": "key",
                "nodeSelector": {"disk": "fast"},
                "tolerations": [{"operator": "Exists"}],
                "affinity": {"podAntiAffinity": {}},
                "podAnnotations": {"a": "b"},
                "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
                "ingress": {
                    "enabled": True,
                    "className": "c",
                    "hostname": "substra-backend.org-1.com",
                    "tlsSecretName": "t",
                },
                "gateway": {"enabled": True, "parentRefs": [{"name": "g"}], "hostnames": ["o.o"]},
                "metrics": {**MONITORED, "tokenSecretName": "metrics"},
            },
            "addAccountOperator": {"existingSecret": "accounts"},
            "builder": {
                "enabled": True,
                "namespace": "default",
                "nodeSelector": {"disk": "fast"},
                "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
            },
            "containerRegistry": {
                "host": "registry",
                "dockerConfigSecretName": "login",
                "caSecretName": "registry-ca",
            },
            "networkPolicy": {
                "from": [{"namespaceSelector": {}}],
                "to": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
            },
        },
    ),
    (
        "substra-backend",
        "accounts given",
        {
            "addAccountOperator": {
                "users": [{"name": "org-1", "secret": "p@sswr0d44", "channel": "mychannel"}],
                "incomingOrganizations": [{"name": "MyOrg1MSP", "secret": "selfSecret1"}],
                "outgoingOrganizations": [{"name": "MyOrg1MSP", "secret": "selfSecret1"}],
            },
            "control": {"enabled": False},
            "podDisruptionBudget": {"enabled": False},
            "networkPolicy": {"enabled": False},
        },
    ),
]
CHECKED = {
    "Deployment": "/apis/apps/v1/namespaces/default/deployments",
    "Job": "/apis/batch/v1/namespaces/default/jobs",
    "Service": "/api/v1/namespaces/default/services",
    "ServiceAccount": "/api/v1/namespaces/default/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/default/configmaps",
    "Secret": "/api/v1/namespaces/default/secrets",
    "Pod": "/api/v1/namespaces/default/pods",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
}
FOREIGN = {"Certificate", "ServiceMonitor", "GRPCRoute", "HTTPRoute"}
"""Kinds of other products, which this cluster does not know."""


def merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {**old, **{name: merged(old.get(name), value) for name, value in new.items()}}


def values(chart: str, change: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = merged(BACKEND if chart == "substra-backend" else ORCHESTRATOR, change)
    return found


@pytest.mark.parametrize(("chart", "name", "change"), VARIANTS)
def test_api_server_takes_every_object(
    connection: Connection, chart: str, name: str, change: dict[str, Any]
) -> None:
    found = rendered(chart, values(chart, change))
    kinds = {document["kind"] for document in found}
    assert {"Deployment", "Service", "ServiceAccount"} <= kinds
    assert kinds <= set(CHECKED) | FOREIGN
    for document in found:
        path = CHECKED.get(document["kind"])
        if path is not None:
            query = {"dryRun": "All", "fieldValidation": "Strict"}
            answer = connection.request("POST", path, query=query, body=document)
            assert answer["metadata"]["name"] == document["metadata"]["name"]


@pytest.mark.parametrize(("chart", "name", "change"), VARIANTS)
def test_pods_are_shut_in(chart: str, name: str, change: dict[str, Any]) -> None:
    found = rendered(chart, values(chart, change))
    specs = [
        document["spec"] if document["kind"] == "Pod" else document["spec"]["template"]["spec"]
        for document in found
        if document["kind"] in ("Deployment", "Job", "Pod")
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
    found = rendered("substra-backend", values("substra-backend", dict(VARIANTS[4][2])))
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
