"""A lease as a pod gets it: presigned addresses in place of paths; and what a pod has sent.

An address is a permission for one file (ring 2 holds no key of the store), so it is made when the lease is
handed out and stands in no row. Outputs go to a folder of the lease's own; what is accepted is copied from
there.
"""

from typing import Any

from backend.engine.compute.results import LOG, MOST_LOG, Arrived, Result, arrival_name
from backend.kit.errors import Overloaded
from backend.ports.storage import Storage, StoredFileMissing

INCOMING = "incoming"
READ_S = 3600
"""How long an input's address is good: it is read when the task starts."""
WRITE_S = 7 * 86_400
"""How long an output's is: as long as the task may take; more no store gives."""


class PodLeases:
    """The leases of one organization's pods. Thread-safe."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def signed(self, lease: dict[str, Any]) -> dict[str, Any]:
        """The lease of `PodOffering` with the addresses of its files.

        Raises:
            Overloaded: the store does not answer; the runner asks again for the lease that it holds.
        """
        folder = arrivals(lease["task"], lease["lock_token"])
        inputs = [
            {**{k: v for k, v in given.items() if k != "file"}, "url": self._read(given["file"])}
            for given in lease["inputs"]
        ]
        outputs = [
            {**slot, "url": self._write(f"{folder}/{arrival_name(slot['identifier'])}")}
            if slot["kind"] == "ASSET_MODEL"
            else slot
            for slot in lease["outputs"]
        ]
        log_url = self._write(f"{folder}/{LOG}")
        return {**lease, "inputs": inputs, "outputs": outputs, "log_url": log_url}

    def arrived(self, result: Result) -> Arrived:
        """Look at what the pod has put into the lease's folder.

        Raises:
            StorageUnavailable: not now; the runner repeats the call.
        """
        folder = arrivals(str(result.task), result.lock_token)
        if result.failure is not None:
            wanted = result.failure.category == "EXECUTION"
            return Arrived(folder, {}, self._log(f"{folder}/{LOG}") if wanted else None)
        names = [
            arrival_name(output.identifier)
            for output in result.outputs
            if output.kind == "ASSET_MODEL"
        ]
        sizes = {name: self._size(f"{folder}/{name}") for name in names}
        return Arrived(folder, {name: size for name, size in sizes.items() if size is not None})

    def _log(self, key: str) -> bytes | None:
        try:
            return b"".join(self._storage.read(key, 0, MOST_LOG))
        except StoredFileMissing:
            return None

    def _size(self, key: str) -> int | None:
        try:
            return self._storage.size(key)
        except StoredFileMissing:
            return None

    def _read(self, key: str) -> str:
        return _given(self._storage.download_url(key, READ_S))

    def _write(self, key: str) -> str:
        return _given(self._storage.upload_url(key, WRITE_S))


def arrivals(task: str, lock_token: str) -> str:
    """The storage's folder with what is sent under a lease."""
    return f"{INCOMING}/{task}/{lock_token}"


def _given(url: str | None) -> str:
    """Settings with pods and without an object store are refused, so this is a store that changed."""
    if url is None:
        raise Overloaded
    return url
