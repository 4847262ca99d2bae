"""One kind of object in one namespace: read, create, apply, patch, watch, delete.

clusters = Resource(connection, RAY_CLUSTERS, "compute")
clusters.apply(ray_cluster("demo", spec), manager="me")
for event in clusters.watch(name="demo", for_s=60): …
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, cast
from urllib.parse import quote

from kuberay.errors import Conflict, Deadline, Gone, Invalid, NotFound, Unavailable
from kuberay.shapes import KubeObject, Pod, RayCluster, RayJob, RayService, Secret
from kuberay.transport import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, Connection

T = TypeVar("T", bound=KubeObject)
_WATCH_S = 60.0
_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """Where a kind lives; `T` is the shape of its objects."""

    prefix: str  # "/apis/ray.io/v1", "/api/v1"
    plural: str
    name: str


RAY_CLUSTERS: Kind[RayCluster] = Kind("/apis/ray.io/v1", "rayclusters", "RayCluster")
RAY_JOBS: Kind[RayJob] = Kind("/apis/ray.io/v1", "rayjobs", "RayJob")
RAY_SERVICES: Kind[RayService] = Kind("/apis/ray.io/v1", "rayservices", "RayService")
SECRETS: Kind[Secret] = Kind("/api/v1", "secrets", "Secret")
PODS: Kind[Pod] = Kind("/api/v1", "pods", "Pod")


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T]):
    """`object` was added, modified or deleted; after a gap in the stream ADDED may repeat what is known."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: T


class Resource(Generic[T]):
    """The objects of one kind in one namespace. Every method raises the errors of `kuberay.errors`."""

    def __init__(self, connection: Connection, kind: Kind[T], namespace: str) -> None:
        self._connection = connection
        self._kind = kind
        self._path = f"{kind.prefix}/namespaces/{quote(namespace, safe='')}/{kind.plural}"

    def get(self, name: str) -> T:
        return cast("T", self._connection.request("GET", self._at(name)))

    def find(self, name: str) -> T | None:
        """The object, or None where there is none."""
        try:
            return self.get(name)
        except NotFound:
            return None

    def all(self, labels: Mapping[str, str] | None = None) -> list[T]:
        """All objects, or those with these labels, read in pages."""
        return self._list(_selection(labels, None))[0]

    def create(self, body: T) -> T:
        """A new object. Raises AlreadyExists for a name that is taken."""
        return cast("T", self._connection.request("POST", self._path, body=body))

    def apply(self, body: T, *, manager: str, force: bool = False, dry_run: bool = False) -> T:
        """Server-side apply: what `body` says becomes so, what it stops saying goes, the rest stays.

        `dry_run`: the server checks and completes the object, and stores nothing. Raises Conflict where
        another manager owns a field, unless `force` takes it over.
        """
        query = {"fieldManager": manager}
        if dry_run:
            query["dryRun"] = "All"
        if force:
            query["force"] = "true"
        sent = {**body, "apiVersion": self._api_version, "kind": self._kind.name}
        path = self._at(body["metadata"]["name"])
        answer = self._connection.request(
            "PATCH", path, query=query, body=sent, content_type=APPLY_PATCH
        )
        return cast("T", answer)

    def merge(self, name: str, change: Mapping[str, Any]) -> T:
        """A JSON merge patch: null removes, lists are replaced as a whole."""
        answer = self._connection.request(
            "PATCH", self._at(name), body=dict(change), content_type=MERGE_PATCH
        )
        return cast("T", answer)

    def patch(self, seen: T, operations: Sequence[Mapping[str, Any]]) -> T:
        """JSON patch of exactly the object that was `seen`: all operations or none.

        Raises:
            Conflict: the object has changed since; read it, decide again.
        """
        name, version = seen["metadata"]["name"], seen["metadata"]["resourceVersion"]
        guard = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        try:
            answer = self._connection.request(
                "PATCH",
                self._at(name),
                body=[guard, *map(dict, operations)],
                content_type=JSON_PATCH,
            )
        except Invalid as error:  # a failed test and a bad operation look alike
            now = self.get(name)["metadata"]["resourceVersion"]
            if now == version:
                raise
            raise Conflict(
                f"{self._kind.name} {name} was changed meanwhile", status=409, reason="Conflict"
            ) from error
        return cast("T", answer)

    def change(
        self,
        name: str,
        decide: Callable[[T], Sequence[Mapping[str, Any]]],
        *,
        attempts: int = 10,
    ) -> T:
        """Read, decide, patch, again on a conflict. `decide` gives operations, none when all is well.

        Raises:
            Conflict: somebody else was faster `attempts` times.
        """
        for attempt in range(attempts):
            seen = self.get(name)
            operations = decide(seen)
            if not operations:
                return seen
            try:
                return self.patch(seen, operations)
            except Conflict:
                if attempt == attempts - 1:
                    raise
                time.sleep(min(0.02 * 2**attempt, 0.5))
        raise ValueError("no attempt was allowed")

    def delete(
        self,
        name: str,
        *,
        uid: str | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        grace_s: int | None = None,
    ) -> bool:
        """Ask for its end; False when there is none already. `uid`: only this very object (else Conflict)."""
        body: dict[str, Any] = {"propagationPolicy": propagation}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            self._connection.request("DELETE", self._at(name), body=body)
        except NotFound:
            return False
        return True

    def wait(
        self, name: str, test: Callable[[T | None], bool], *, for_s: float, what: str = ""
    ) -> T | None:
        """Watch until `test` holds for the object (None: it is not there); the object then.

        Raises:
            Deadline: it did not hold within `for_s` seconds.
        """
        current = self.find(name)
        if test(current):
            return current
        for event in self.watch(name=name, for_s=for_s):
            current = None if event.type == "DELETED" else event.object
            if test(current):
                return current
        current = self.find(name)  # what a stream that broke at the end may have missed
        if test(current):
            return current
        raise Deadline(f"{what or f'{self._kind.name} {name}'}: not within {for_s:g} s")

    def wait_gone(self, name: str, *, for_s: float, uid: str | None = None) -> None:
        """Wait until there is none (`uid`: not this one) any more. Raises Deadline."""
        self.wait(
            name,
            lambda o: o is None or (uid is not None and o["metadata"].get("uid") != uid),
            for_s=for_s,
            what=f"the end of {self._kind.name} {name}",
        )

    def watch(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
        for_s: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[WatchEvent[T]]:
        """What there is, as ADDED, then every change, for `for_s` seconds (None: until `stopped`).

        Broken streams are resumed where they ended. When the server has forgotten that point (410), the
        objects are listed again: those that vanished meanwhile come as DELETED, changed ones as MODIFIED.
        An API server that does not answer is waited for; `stopped` is asked at each end of a stream.
        """
        selection = _selection(labels, name)
        ends = None if for_s is None else time.monotonic() + for_s
        known: dict[str, T] = {}
        version: str | None = None
        failures = 0
        while not stopped() and (ends is None or time.monotonic() < ends):
            try:
                if version is None:
                    found, version = self._list(selection)
                    yield from _differences(known, found)
                came = False
                for event, at in self._stream(selection, version, _left(ends)):
                    version, came = at, True
                    if event is not None:
                        _note(known, event)
                        yield event
                failures = 0
                if not came:  # a server that ends streams at once is not asked in a tight loop
                    time.sleep(min(_PAUSES_S[0], _left(ends)))
            except Gone:
                version = None
            except Unavailable:
                pause = _PAUSES_S[min(failures, len(_PAUSES_S) - 1)]
                failures += 1
                time.sleep(min(pause, _left(ends)))

    def _stream(
        self, selection: Mapping[str, str], version: str, left_s: float
    ) -> Iterator[tuple[WatchEvent[T] | None, str]]:
        seconds = max(1, round(min(left_s, _WATCH_S)))
        query = {
            **selection,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        with self._connection.lines(self._path, query, seconds + 10.0) as lines:
            for line in lines:
                kind, value = line.get("type"), line.get("object") or {}
                if kind == "ERROR":
                    raise _stream_error(value)
                at = str(value.get("metadata", {}).get("resourceVersion") or version)
                if kind in ("ADDED", "MODIFIED", "DELETED"):
                    yield WatchEvent(kind, cast("T", value)), at
                elif kind == "BOOKMARK":
                    yield None, at

    def _list(self, selection: Mapping[str, str]) -> tuple[list[T], str]:
        found: list[T] = []
        query = {**selection, "limit": str(_PAGE)}
        while True:
            answer = self._connection.request("GET", self._path, query=query)
            found += cast("list[T]", answer.get("items") or [])
            meta = answer.get("metadata") or {}
            if not meta.get("continue"):
                return found, str(meta.get("resourceVersion") or "")
            query["continue"] = str(meta["continue"])

    @property
    def _api_version(self) -> str:
        return self._kind.prefix.removeprefix("/apis/").removeprefix("/api/")

    def _at(self, name: str) -> str:
        if not name:
            raise ValueError("an object has a name")
        return f"{self._path}/{quote(name, safe='')}"


def _left(ends: float | None) -> float:
    return _WATCH_S if ends is None else max(0.0, ends - time.monotonic())


def _selection(labels: Mapping[str, str] | None, name: str | None) -> dict[str, str]:
    selection = {}
    if labels:
        selection["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
    if name is not None:
        selection["fieldSelector"] = f"metadata.name={name}"
    return selection


def _stream_error(status: Mapping[str, Any]) -> Exception:
    """An error inside a stream is final for that stream: either the point is too old, or try again."""
    message = str(status.get("message") or "the stream ended with an error")
    if status.get("code") == 410 or status.get("reason") in ("Expired", "Gone"):
        return Gone(message, status=410, reason="Expired")
    return Unavailable(message, status=int(status.get("code") or 0))


def _identity(item: KubeObject) -> str:
    meta = item["metadata"]
    return meta.get("uid") or meta["name"]


def _note(known: dict[str, T], event: WatchEvent[T]) -> None:
    if event.type == "DELETED":
        known.pop(_identity(event.object), None)
    else:
        known[_identity(event.object)] = event.object


def _differences(known: dict[str, T], found: Sequence[T]) -> Iterator[WatchEvent[T]]:
    """What a new list tells beyond what is known; `known` becomes the list, event by event."""
    now = {_identity(item): item for item in found}
    for identity, item in list(known.items()):
        if identity not in now:
            del known[identity]
            yield WatchEvent("DELETED", item)
    for identity, item in now.items():
        before = known.get(identity)
        known[identity] = item
        if before is None:
            yield WatchEvent("ADDED", item)
        elif _version(before) != _version(item):
            yield WatchEvent("MODIFIED", item)


def _version(item: KubeObject) -> str:
    return item["metadata"].get("resourceVersion", "")
