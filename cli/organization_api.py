"""The APIs of a network's organizations, as their provisioned users: what the commands ask."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import typer

from network.layout import Layout, UnusableFolder

ACCEPT = "application/json;version=0.0"


class ApiAway(Exception):
    """An organization does not answer, or not as asked; the text says so."""


class OrganizationApi:
    """One organization, logged in at the first request."""

    def __init__(self, entry: dict[str, str]) -> None:
        self.name, self.msp_id = entry["name"], entry["msp_id"]
        self._user = {"username": entry["username"], "password": entry["password"]}
        timeout = httpx.Timeout(10, read=60)
        self._client = httpx.Client(
            base_url=entry["url"], timeout=timeout, trust_env=False, headers={"Accept": ACCEPT}
        )
        self._logged_in = False

    @classmethod
    def all_of(cls, state: Path) -> list[Self]:
        """Those of `network.json`, in order.

        Raises:
            ApiAway: there is no such file.
        """
        try:
            layout = Layout.at(state)
            content = json.loads(layout.network_file.read_text("utf-8"))
        except (OSError, ValueError, UnusableFolder):
            raise ApiAway(f"There is no network in {state}. `substra-ray up` makes one.") from None
        return [cls(entry) for entry in content["organizations"]]

    def close(self) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        """The JSON document at `path`; None for 404.

        Raises:
            ApiAway: no answer, or a refusal.
        """
        with self.stream(path) as response:
            if response.status_code == 404:
                return None
            content = response.read()
            if response.is_error:
                raise ApiAway(f"{self.name} answers {response.status_code}: {_words(content)}")
        return json.loads(content)

    @contextmanager
    def stream(self, path: str) -> Iterator[httpx.Response]:
        """An open answer. Raises ApiAway when there is none."""
        try:
            self._log_in()
            with self._client.stream("GET", path) as response:
                yield response
        except httpx.HTTPError as error:
            raise ApiAway(f"{self.name} does not answer: {error}") from None

    def _log_in(self) -> None:
        if self._logged_in:
            return
        answer = self._client.post("/api-token-auth/", data=self._user)
        if answer.is_error:
            raise ApiAway(f"{self.name} refuses the log-in: {_words(answer.content)}")
        self._client.headers["Authorization"] = f"Token {answer.json()['token']}"
        self._logged_in = True


@contextmanager
def organizations(state: Path, only: str | None) -> Iterator[list[OrganizationApi]]:
    """The organizations to ask; a refusal is one message and exit status 1."""
    apis: list[OrganizationApi] = []
    try:
        apis = OrganizationApi.all_of(state)
        chosen = [api for api in apis if only in (None, api.name, api.msp_id)]
        if not chosen:
            raise ApiAway(f"There is no organization {only}.")
        yield chosen
    except ApiAway as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from None
    finally:
        for api in apis:
            api.close()


def _words(content: bytes) -> str:
    try:
        detail = json.loads(content)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = content[:200].decode("utf-8", "replace")
    return str(detail)
