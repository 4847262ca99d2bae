"""Ray's dashboard for administrators: its page out of our own packages, its data from the clusters, read only.

A browser gets scripts of this installation and no others, so that a cluster where users' functions run can put
none into a page of the API's own address. Of the head's routes only those pass that show its state: some of the
others kill actors or profile processes, by a GET; logs and packages may hold what users wrote. Ray's token is
added here, and nothing else that the browser sent goes on.
"""

import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import httpx
import structlog

log = structlog.get_logger(__name__)
TIMEOUT_S = 30.0
MOST_BYTES = 64 << 20
_ID = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_KINDS = "actors|jobs|nodes|objects|placement_groups|runtime_envs|tasks|workers"
_SHOWN = re.compile(
    "|".join(
        [
            *("nodes", f"nodes/{_ID}", "logical/actors", f"logical/actors/{_ID}"),
            *("events", "timezone", "cluster_id", "usage_stats_enabled"),
            *("api/version", "api/cluster_status", "api/component_activities"),
            *("api/jobs/", f"api/jobs/{_ID}", "api/serve/applications/"),
            *("api/grafana_health", "api/prometheus_health", "api/profiling_enabled"),
            *(f"api/v0/(?:{_KINDS})", "api/v0/(?:actors|objects|tasks)/summarize"),
            *("api/v0/tasks/timeline", "api/v0/cluster_metadata", "api/v0/cluster_events"),
            *("api/v0/platform_events", "api/v0/runtime_env_redaction"),
        ]
    )
)
_PAGE_FILE = re.compile(r"(?:index\.html|favicon\.ico|static/[a-z]+/[A-Za-z0-9_.-]+)")
ANSWERED_HERE = {"api/authentication_mode": b'{"authentication_mode": "disabled"}'}
"""The page need not ask for a token: whoever sees it is let in already."""


class DashboardUnavailable(Exception):
    """The cluster's head does not answer, or not as it should; its text says why."""


def is_shown(path: str) -> bool:
    """Whether this route of the head only shows something."""
    return _SHOWN.fullmatch(path) is not None


def page_file(path: str) -> Path | None:
    """The file of Ray's page behind `path`, None where there is none. Ray is found, not imported."""
    name = path or "index.html"
    if not _PAGE_FILE.fullmatch(name) or ".." in name:
        return None
    ray = find_spec("ray")
    if ray is None or ray.origin is None:
        return None
    found = Path(ray.origin).parent / "dashboard" / "client" / "build" / name
    return found if found.is_file() else None


class Heads:
    """The heads of an organization's Ray clusters, by the names that they have here: compute, api."""

    def __init__(self, addresses: Mapping[str, str], token: Callable[[], str | None]) -> None:
        """`addresses`: of their dashboards. `token`: Ray's, read for each request: it may change."""
        self._addresses = dict(addresses)
        self._token = token

    def knows(self, cluster: str) -> bool:
        return cluster in self._addresses

    async def read(self, cluster: str, path: str, query: str) -> bytes:
        """The JSON text of a route that `is_shown`.

        Raises:
            DashboardUnavailable: no answer, another one than JSON with status 200, or too long a one.
        """
        token = self._token()
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self._addresses[cluster]}/{path}" + (f"?{query}" if query else "")
        try:
            async with (
                httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client,
                client.stream("GET", url, headers=headers) as answer,
            ):
                if answer.status_code != 200:
                    raise DashboardUnavailable(f"Ray's head answers {answer.status_code}")
                return await _whole(answer)
        except httpx.HTTPError as error:
            log.warning("dashboard_unavailable", cluster=cluster, error=type(error).__name__)
            raise DashboardUnavailable("Ray's head does not answer") from error


async def _whole(answer: httpx.Response) -> bytes:
    pieces, size = [], 0
    async for piece in answer.aiter_bytes():
        size += len(piece)
        if size > MOST_BYTES:
            raise DashboardUnavailable("Ray's head answers too much")
        pieces.append(piece)
    return b"".join(pieces)
