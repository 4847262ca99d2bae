"""Leases for pods, as they lie in the queue: names of the storage in place of paths, an image by its digest."""

from typing import Any

from backend.engine.compute.cluster.claiming import GROUP
from backend.engine.compute.cluster.inputs import SAMPLE, digest_of
from backend.engine.compute.cluster.template import group_name
from backend.engine.compute.offering import Local, Offering
from backend.engine.compute.store import InputAsset, TaskContext


class PodOffering(Offering):
    """Makes the leases of an organization whose tasks run in pods. Fetches nothing."""

    def lease(self, context: TaskContext, local: Local) -> dict[str, Any]:
        found = super().lease(context, local)
        image = local.environment["image"]
        return {
            **found,
            GROUP: group_name(image),
            "environment": {**local.environment, "env": self.variables},
            # a pod has its own, and Kubernetes knows what is left; memory bounds the function in it
            "resources": {"memory_bytes": local.needs.memory_bytes},
        }

    def is_here(self, offer: dict[str, Any]) -> bool:
        """Nothing leaves the storage before its plan has ended."""
        return True

    def input(self, asset: InputAsset, place: str) -> dict[str, Any]:
        found = {
            "identifier": asset.identifier,
            "kind": asset.kind,
            "key": str(asset.key),
            "multiple": asset.multiple,
            "file": place,
            "form": "file",
        }
        if asset.kind == SAMPLE:
            return {**found, "form": "tar", "checksum": digest_of(place)}
        if asset.expected or not asset.checksum:
            return found
        return {**found, "checksum": asset.checksum, "salt": asset.salt}
