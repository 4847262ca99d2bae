"""Values with which the charts are rendered: the least, the most, and what excludes each other."""

from typing import Any

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
                "prepopulate": [
                    {"image": "substra/substra-tools:latest", "sourceRegistry": "ghcr.io"},
                    {"image": "base:1", "dstImage": "ours/base:1", "dockerConfigSecretName": "l"},
                ],
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
    (
        "substra-backend",
        "small services",
        {
            "database": {"host": "", "auth": {"credentialsSecretName": ""}},
            "objectStore": {"url": "", "credentialsSecretName": ""},
            "postgresql": {"enabled": True, "persistence": {"storageClass": "fast"}},
            "minio": {"enabled": True},
            "dockerRegistry": {"enabled": True, "persistence": {"enabled": False}},
            "containerRegistry": {"host": "10.88.0.1", "port": 30500, "scheme": "http"},
            "builder": {"enabled": True, "namespace": "builds"},
            "compute": {"enabled": True, "namespace": "compute"},
            "createNamespaces": True,
        },
    ),
    (
        "substra-backend",
        "autoscaled, cert-manager",
        {
            "server": {
                "autoscaling": {"enabled": True},
                "extraEnv": [{"name": "NO_PROXY", "value": ".svc"}],
                "ingress": {"enabled": True, "hostname": "substra.org-1.com"},
                "certificate": {
                    "enabled": True,
                    "issuer": {"kind": "ClusterIssuer", "name": "substra-issuer"},
                },
            },
        },
    ),
    (
        "substra-backend",
        "on Serve",
        {
            "serve": {"mode": "rayservice", "workers": {"maxReplicas": 4}},
            "database": {"sslMode": "verify-full", "sslRootCertSecretName": "database-ca"},
            "server": {
                "subpath": "org-1",
                "ingress": {"enabled": True, "hostname": "substra.org-1.com"},
                "gateway": {"enabled": True, "parentRefs": [{"name": "g"}]},
            },
        },
    ),
    (
        "substra-backend",
        "heads with Redis",
        {
            "serve": {"mode": "rayservice"},
            "compute": {"enabled": True, "namespace": "default-compute"},
            "containerRegistry": {"host": "registry"},
            "gcsFaultTolerance": {
                "redisAddress": "rediss://redis.data:6380",
                "credentialsSecretName": "redis",
            },
        },
    ),
    (
        "substra-backend",
        "dashboard",
        {
            "server": {"dashboard": {"enabled": True}},
            "serve": {"mode": "rayservice"},
            "compute": {"enabled": True, "namespace": "default-compute"},
            "containerRegistry": {"host": "registry"},
        },
    ),
    (
        "substra-backend",
        "BuildKit",
        {
            "builder": {"enabled": True, "namespace": "builds", "kind": "buildkit"},
            "buildkit": {
                "seccompProfile": {"type": "Localhost", "localhostProfile": "buildkit.json"},
                "appArmorProfile": {"type": "RuntimeDefault"},
            },
            "containerRegistry": {"host": "registry"},
            "createNamespaces": True,
        },
    ),
    (
        "substra-orchestrator",
        "small database",
        {
            "database": {"host": "", "credentialsSecretName": ""},
            "postgresql": {"enabled": True},
        },
    ),
]


def merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {**old, **{name: merged(old.get(name), value) for name, value in new.items()}}


def values(chart: str, change: dict[str, Any]) -> dict[str, Any]:
    """Those that have to be given, and the `change`."""
    found: dict[str, Any] = merged(BACKEND if chart == "substra-backend" else ORCHESTRATOR, change)
    return found


def variant(chart: str, name: str) -> dict[str, Any]:
    """The whole values of one of them."""
    changes = [change for of, called, change in VARIANTS if (of, called) == (chart, name)]
    assert len(changes) == 1
    return values(chart, changes[0])
