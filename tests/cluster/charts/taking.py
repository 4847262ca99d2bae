"""Rendered objects shown to the real API server, which says whether it would take them; nothing is made."""

from collections.abc import Sequence
from typing import Any

from kuberay.transport import Connection

CHECKED = {
    "Namespace": "/api/v1/namespaces",
    "PersistentVolumeClaim": "/api/v1/namespaces/default/persistentvolumeclaims",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
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
    "RayCluster": "/apis/ray.io/v1/namespaces/default/rayclusters",
    "RayService": "/apis/ray.io/v1/namespaces/default/rayservices",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
}
FOREIGN = {"Certificate", "ServiceMonitor", "GRPCRoute", "HTTPRoute"}
"""Kinds of other products, which this cluster does not know."""


def taken(connection: Connection, documents: Sequence[Any]) -> list[Any]:
    """The objects as the server would store them, with those of kinds that it does not know as they are.

    Raises AssertionError for a kind that nobody checks, KubeError for an object that is refused.
    """
    found = []
    for document in documents:
        if document["kind"] in FOREIGN:
            found.append(document)
            continue
        assert document["kind"] in CHECKED, document["kind"]
        if "namespace" in document["metadata"]:
            document["metadata"]["namespace"] = "default"  # it need not be there already
        query = {"dryRun": "All", "fieldValidation": "Strict"}
        path = CHECKED[document["kind"]]
        answer = connection.request("POST", path, query=query, body=document)
        assert answer["metadata"]["name"] == document["metadata"]["name"]
        found.append(answer)
    return found
