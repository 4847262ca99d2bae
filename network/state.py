"""What a network keeps from one `up` to the next: ports, secrets, size. One JSON file, mode 0600."""

import json
import os
import secrets
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, ValidationError

from network.layout import Layout
from network.ports import free_port, free_range, is_free
from network.private_files import write_private
from network.run_environment import capture

SCHEMA = 1
DEFAULT_PORT = 8000
DEFAULT_ORGANIZATIONS = 2
MOST_ORGANIZATIONS = 20
PORTS = (
    *("postgres", "orchestrator"),
    *("ray-gcs", "ray-node-manager", "ray-object-manager", "ray-dashboard"),
    *("ray-agent-http", "ray-agent-grpc", "ray-runtime-env", "ray-metrics"),
    *("serve", "serve-fallback", "serve-stats", "serve-metrics"),
)
WORKER_PORTS = 200  # one for each Ray worker process
INGRESS_PORTS = 100  # one for each Serve replica; a released one is kept aside for a while
RANGES = {"ray-workers": WORKER_PORTS, "serve-ingress": INGRESS_PORTS}


class UnusableState(RuntimeError):
    """The state file cannot be used; the text says the way out."""


class State(BaseModel):
    """`organizations` counts them: org-1 … org-n. `ports` by use, ranges by their first port.

    `frontend`: the folder of a built front end that is served beside the API.
    """

    schema_version: int = SCHEMA
    port: int = DEFAULT_PORT
    organizations: int = Field(ge=1, le=MOST_ORGANIZATIONS)
    workers: int = Field(ge=1)
    plain: bool = False
    frontend: str | None = None
    ports: dict[str, int] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict, repr=False)
    run_environment: dict[str, str] = Field(default_factory=dict, repr=False)

    @classmethod
    def new(
        cls, *, organizations: int, port: int, workers: int | None = None, plain: bool = False
    ) -> Self:
        made = cls(
            port=port,
            organizations=organizations,
            workers=workers or os.cpu_count() or 1,
            plain=plain,
            run_environment=capture(os.environ),
        )
        made.complete()
        return made

    @classmethod
    def load(cls, layout: Layout) -> Self | None:
        """The kept state; None when there is none yet.

        Raises:
            UnusableState: the file is damaged, or of a newer version.
        """
        try:
            content = json.loads(layout.state_file.read_text("utf-8"))
            state = cls.model_validate(content)
        except FileNotFoundError:
            return None
        except (ValueError, ValidationError) as error:
            raise UnusableState(_damaged(layout.state_file)) from error
        if state.schema_version > SCHEMA:
            raise UnusableState(
                f"{layout.state_file} was written by a newer version: use that one, or another --state."
            )
        return state

    def save(self, layout: Layout) -> None:
        write_private(layout.state_file, self.model_dump_json(indent=1))

    @property
    def names(self) -> list[str]:
        """`org-1`, `org-2`, …"""
        return [f"org-{number}" for number in range(1, self.organizations + 1)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(self, name: str) -> str | None:
        """The origin of an organization's pages: a host of its own, so that cookies do not mix (rule 28)."""
        if self.frontend is None:
            return None
        return f"http://{name}.localhost:{self.ports[f'page-{name}']}"

    def page_api(self, name: str) -> str:
        """Where those pages find the API: the same host, so that they can read its cookies."""
        return f"http://{name}.localhost:{self.port}/{name}"

    def complete(self) -> None:
        """Choose the ports and secrets that are not there yet; those that are stay as they are."""
        taken = {self.port, *self.ports.values()}
        for use, size in RANGES.items():
            if use in self.ports:
                taken.update(range(self.ports[use], self.ports[use] + size))
        pages = [] if self.frontend is None else [f"page-{name}" for name in self.names]
        for use in (*PORTS, *(f"api-{name}" for name in self.names), *pages):
            if use not in self.ports:
                self.ports[use] = free_port(taken)
        for use, size in RANGES.items():
            if use not in self.ports:
                self.ports[use] = free_range(size, taken)
        for use in self._secret_names():
            self.secrets.setdefault(use, secrets.token_urlsafe(32))

    def replace_busy_ports(self) -> list[str]:
        """Choose anew the ports that another program took while the network was down; says which.

        The front door's port is the user's choice and stays.
        """
        busy = [use for use, port in self.ports.items() if use not in RANGES and not is_free(port)]
        for use in busy:
            del self.ports[use]
        self.complete()
        return busy

    def peer_secret(self, caller: str, owner: str) -> str:
        """With what `caller` (org-n) shows itself to `owner`: outgoing here, incoming there."""
        return self.secrets[f"peer:{caller}>{owner}"]

    def _secret_names(self) -> list[str]:
        per_organization = [f"{use}:{name}" for use in ("database", "key") for name in self.names]
        pairs = [f"peer:{one}>{other}" for one in self.names for other in self.names]
        return ["database:orchestrator", "ray-token", *per_organization, *pairs]


def _damaged(path: Path) -> str:
    return (
        f"{path} is damaged. Restore it from a backup; or, to begin anew, "
        "remove the network with `substra-ray down --purge`."
    )
