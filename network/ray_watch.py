"""What runs on Ray, asked of its dashboard over HTTP: the supervisor itself never joins the cluster.

A driver dies with its cluster and costs 90 MB; the State API of the dashboard is one GET.
"""

import json
import threading
from typing import Any

from network import probes
from network.layout import Layout
from network.state import State

QUERY = (
    "/api/v0/actors?limit=1000&detail=0"
    "&filter_keys=state&filter_predicates=%21%3D&filter_values=DEAD"
)
ALIVE = "ALIVE"
PATIENCE = 3  # looks in a row without an actor before it counts as missing


class RayWatch:
    """Named actors that live, seen by `look` (thread of the checks), read by the main thread."""

    def __init__(self, layout: Layout, state: State) -> None:
        self.organizations = tuple(state.names)
        self._token = layout.ray_token_file.read_text("ascii").strip()
        self._port = state.ports["ray-dashboard"]
        self._lock = threading.Lock()
        self._rows: list[dict[str, Any]] = []
        self._misses = 0

    def look(self) -> None:
        """Ask once; an unanswered question changes nothing (the head has its own check)."""
        headers = {"Authorization": f"Bearer {self._token}"}
        status, body = probes.get(self._port, QUERY, headers=headers, timeout_s=5)
        if status != 200:
            return
        try:
            found = json.loads(body)["data"]["result"]["result"]
        except (ValueError, KeyError, TypeError):
            return
        rows = [_row(actor) for actor in found if actor.get("pid") and actor.get("state") == ALIVE]
        # One that Ray is restarting takes seconds, and a second driver would only slow it down.
        names = {actor.get("name") for actor in found}
        complete = all(f"control-{name}" in names for name in self.organizations)
        with self._lock:
            self._rows = sorted(rows, key=lambda row: (row["name"], row["pid"]))
            self._misses = 0 if complete else self._misses + 1

    def rows(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._rows)

    def missing(self) -> bool:
        """Whether something that was deployed stays away."""
        with self._lock:
            return self._misses > PATIENCE

    def forget(self) -> None:
        with self._lock:
            self._misses, self._rows = 0, []


def _row(actor: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": actor.get("name") or "",
        "class": actor.get("class_name") or "",
        "pid": actor["pid"],
    }
