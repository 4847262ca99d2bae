"""Ray's Jobs API over HTTP: sessions are submitted, listed, stopped and forgotten here.

By HTTP and not by Ray's client, which costs 2 s and 150 MB to import. The cluster's token is read again after a
refusal, so that it may be changed while we run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from backend.engine.compute.cluster.planning import Phase

FINAL = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})


class JobsUnavailable(Exception):
    """Ray's head does not answer, or not as it should; its text says why."""


@dataclass(frozen=True, slots=True)
class Job:
    """A submitted job. `host` is the address of the pod that it runs, or ran, in."""

    id: str
    status: str
    message: str
    metadata: dict[str, str]
    host: str | None

    @property
    def phase(self) -> Phase:
        if self.status in FINAL:
            return Phase.ENDED
        return Phase.RUNNING if self.status == "RUNNING" else Phase.PENDING


class Jobs:
    """The jobs of one Ray cluster."""

    def __init__(
        self, url: str, token: Callable[[], str] | None = None, *, timeout_s: float = 10.0
    ) -> None:
        """`url` is the dashboard's; `token` reads the cluster's token, None where it has none."""
        self._token = token
        self._client = httpx.Client(base_url=url, timeout=timeout_s, trust_env=False)
        self._known: str | None = None

    def close(self) -> None:
        self._client.close()

    def submit(
        self,
        id: str,  # noqa: A002
        entrypoint: str,
        *,
        resources: Mapping[str, float],
        runtime_env: Mapping[str, Any],
        metadata: Mapping[str, str],
    ) -> None:
        """Submit a job. One of this id that is there already is taken for this one."""
        body = {
            "submission_id": id,
            "entrypoint": entrypoint,
            "entrypoint_resources": dict(resources),
            "runtime_env": dict(runtime_env),
            "metadata": dict(metadata),
        }
        answer = self._send("POST", "/api/jobs/", body)
        if answer.status_code not in (200, 201) and "already exists" not in answer.text:
            raise JobsUnavailable(f"a job was refused: {_words(answer)}")

    def all(self) -> list[Job]:
        """Every submitted job that is still remembered."""
        answer = self._send("GET", "/api/jobs/")
        if answer.status_code != 200:
            raise JobsUnavailable(f"no list of jobs: {_words(answer)}")
        found = [_job(value) for value in answer.json()]
        return [job for job in found if job is not None]

    def stop(self, id: str) -> None:  # noqa: A002
        """Ask the job to end; nothing happens when it has, or never was."""
        self._may("POST", f"/api/jobs/{id}/stop")

    def forget(self, id: str) -> bool:  # noqa: A002
        """Delete an ended job's record; False while it still runs."""
        return self._may("DELETE", f"/api/jobs/{id}")

    def log(self, id: str) -> str:  # noqa: A002
        """What the job's entry point wrote; empty when nobody knows any more."""
        answer = self._send("GET", f"/api/jobs/{id}/logs")
        return str(answer.json().get("logs") or "") if answer.status_code == 200 else ""

    def _may(self, method: str, path: str) -> bool:
        answer = self._send(method, path)
        if answer.status_code in (401, 403):
            raise JobsUnavailable(_words(answer))
        return answer.status_code in (200, 404)

    def _send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            answer = self._client.request(method, path, json=body, headers=self._headers())
            if answer.status_code == 401 and self._token is not None:
                self._known = None
                answer = self._client.request(method, path, json=body, headers=self._headers())
        except httpx.HTTPError as error:
            raise JobsUnavailable(f"Ray's head does not answer: {type(error).__name__}") from error
        if answer.status_code >= 502:
            raise JobsUnavailable(_words(answer))
        return answer

    def _headers(self) -> dict[str, str]:
        if self._token is None:
            return {}
        if self._known is None:
            self._known = self._token()
        return {"Authorization": f"Bearer {self._known}"}


def _words(answer: httpx.Response) -> str:
    lines = answer.text.strip().splitlines()
    return f"{answer.status_code} {lines[-1][:300] if lines else ''}"


def _job(value: Mapping[str, Any]) -> Job | None:
    """None for drivers that were not submitted as jobs."""
    id = value.get("submission_id")  # noqa: A001
    if not id:
        return None
    address = value.get("driver_agent_http_address")
    return Job(
        id=str(id),
        status=str(value.get("status") or ""),
        message=str(value.get("message") or ""),
        metadata={str(k): str(v) for k, v in (value.get("metadata") or {}).items()},
        host=urlsplit(address).hostname if address else None,
    )
