"""Change the worker groups of a running RayCluster without disturbing it or its autoscaler.

The autoscaler patches `replicas` by the group's place in the list, and the operator forgets the pods of a group
that leaves the list. So groups are only appended, a group is removed when it has no pods, and every change is
guarded by the resource version. Pure functions give the operations; `WorkerGroups` carries them out.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kuberay.errors import Conflict, Deadline
from kuberay.resources import PODS, RAY_CLUSTERS, Resource
from kuberay.shapes import (
    API_VERSION,
    CLUSTER_LABEL,
    GROUP_LABEL,
    OwnerReference,
    Pod,
    RayCluster,
    WorkerGroup,
)
from kuberay.status import up_to_date
from kuberay.transport import Connection

Operation = Mapping[str, Any]
_LOOK_S = 2.0
_GROUPS = "/spec/workerGroupSpecs"


def groups_of(cluster: RayCluster) -> list[WorkerGroup]:
    return cluster["spec"].get("workerGroupSpecs") or []


def position(cluster: RayCluster, group: str) -> int | None:
    """The group's place in the list, None when it is not there."""
    names = [spec["groupName"] for spec in groups_of(cluster)]
    return names.index(group) if group in names else None


def appended(cluster: RayCluster, group: WorkerGroup) -> list[Operation]:
    """Operations that add the group at the end; none when a group of this name is there."""
    if position(cluster, group["groupName"]) is not None:
        return []
    if "workerGroupSpecs" not in cluster["spec"] or not groups_of(cluster):
        return [{"op": "add", "path": _GROUPS, "value": [group]}]
    return [{"op": "add", "path": f"{_GROUPS}/-", "value": group}]


def bounded(cluster: RayCluster, group: str, minimum: int, maximum: int) -> list[Operation]:
    """Operations that set the bounds; `replicas`, which is the autoscaler's, only where they force it."""
    at = position(cluster, group)
    if at is None:
        return []
    spec = groups_of(cluster)[at]
    wanted = {"minReplicas": minimum, "maxReplicas": maximum}
    replicas = spec.get("replicas", 0)
    if not minimum <= replicas <= maximum:
        wanted["replicas"] = min(max(replicas, minimum), maximum)
    return [
        {"op": "add", "path": f"{_GROUPS}/{at}/{name}", "value": value}
        for name, value in wanted.items()
        if spec.get(name) != value
    ]


def emptied(cluster: RayCluster, group: str, pods: Sequence[str]) -> list[Operation]:
    """Operations that let the group have no pods; `pods` are the names of those it has.

    They are named for deletion: where an autoscaler watches, the operator deletes no others.
    """
    operations = bounded(cluster, group, 0, 0)
    at = position(cluster, group)
    if at is None or not pods:
        return operations
    strategy = groups_of(cluster)[at].get("scaleStrategy") or {}
    if set(strategy.get("workersToDelete") or ()) == set(pods):
        return operations
    value = {"workersToDelete": sorted(pods)}
    return [*operations, {"op": "add", "path": f"{_GROUPS}/{at}/scaleStrategy", "value": value}]


def without_pod(cluster: RayCluster, group: str, pod: str) -> list[Operation]:
    """Operations that take one pod out of the group, and its place with it, down to the minimum."""
    at = position(cluster, group)
    if at is None:
        return []
    spec = groups_of(cluster)[at]
    listed = list((spec.get("scaleStrategy") or {}).get("workersToDelete") or ())
    if pod in listed:
        return []
    replicas = max(spec.get("replicas", 0) - 1, spec.get("minReplicas", 0))
    return [
        {"op": "add", "path": f"{_GROUPS}/{at}/replicas", "value": replicas},
        {
            "op": "add",
            "path": f"{_GROUPS}/{at}/scaleStrategy",
            "value": {"workersToDelete": [*listed, pod]},
        },
    ]


def removed(cluster: RayCluster, group: str) -> list[Operation]:
    """Operations that take the group off the list. Raises Conflict unless it is bounded to zero."""
    at = position(cluster, group)
    if at is None:
        return []
    spec = groups_of(cluster)[at]
    if spec.get("replicas") or spec.get("maxReplicas"):
        raise Conflict(f"group {group} was given replicas again")
    return [{"op": "remove", "path": f"{_GROUPS}/{at}"}]


class WorkerGroups:
    """The worker groups of one RayCluster."""

    def __init__(self, connection: Connection, namespace: str, cluster: str) -> None:
        self._clusters = Resource(connection, RAY_CLUSTERS, namespace)
        self._pods = Resource(connection, PODS, namespace)
        self._cluster = cluster

    def all(self) -> list[WorkerGroup]:
        return groups_of(self._clusters.get(self._cluster))

    def owner(self) -> OwnerReference:
        """A reference by which an object in the cluster's namespace is deleted with the cluster."""
        seen = self._clusters.get(self._cluster)
        uid = str(seen["metadata"].get("uid", ""))
        return {"apiVersion": API_VERSION, "kind": "RayCluster", "name": self._cluster, "uid": uid}

    def pods(self, group: str) -> list[Pod]:
        """The pods that the group has, those that are ending included."""
        return self._pods.all({CLUSTER_LABEL: self._cluster, GROUP_LABEL: group})

    def append(self, group: WorkerGroup) -> None:
        """Add the group; nothing happens when its name is there."""
        self._clusters.change(self._cluster, lambda seen: appended(seen, group))

    def bound(self, group: str, minimum: int, maximum: int) -> None:
        self._clusters.change(self._cluster, lambda seen: bounded(seen, group, minimum, maximum))

    def retire(self, group: str, pod: str) -> None:
        """Delete one pod and its place; others of the group are not touched."""
        self._clusters.change(self._cluster, lambda seen: without_pod(seen, group, pod))

    def empty(self, group: str) -> bool:
        """Bound the group to zero and name its pods for deletion; True when it has none left."""
        pods = [pod["metadata"]["name"] for pod in self.pods(group)]
        self._clusters.change(self._cluster, lambda seen: emptied(seen, group, pods))
        return not pods

    def remove(self, group: str) -> bool:
        """Take an empty group off the list; False while it has pods, which would be orphaned.

        That includes a pod that the operator may yet make: it must have seen the bounds of zero.

        Raises:
            Conflict: it was given replicas again meanwhile.
        """
        seen = self._clusters.get(self._cluster)
        if not up_to_date(seen) or self.pods(group):
            return False
        operations = removed(seen, group)
        if operations:
            self._clusters.patch(seen, operations)
        return True

    def evict(self, group: str, *, for_s: float) -> None:
        """Empty the group, wait for its pods to go, remove it.

        Raises:
            Deadline: pods are left after `for_s` seconds; the group then stays, bounded to zero.
        """
        ends = time.monotonic() + for_s
        while time.monotonic() < ends:
            self.empty(group)
            pause_s = _LOOK_S
            try:
                if self.remove(group):
                    return
            except Conflict:
                pause_s = 0.1  # changed meanwhile, by the operator's status for one
            self._changes(group, min(pause_s, ends - time.monotonic()))
        raise Deadline(f"pods of group {group} are left after {for_s:g} s")

    def _changes(self, group: str, for_s: float) -> None:
        """Wait until a pod of the group has gone, or `for_s` seconds."""
        labels = {CLUSTER_LABEL: self._cluster, GROUP_LABEL: group}
        for event in self._pods.watch(labels=labels, for_s=max(for_s, 0.1)):
            if event.type == "DELETED":
                return
