"""What `substra-ray logs` prints: a task's log, asked where the task is worked on."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cli.organization_api import ApiAway, OrganizationApi, organizations


def show(state: Path, task: str, *, organization: str | None, follow: bool) -> None:
    """Write the log to standard output; what is not of the log goes to standard error."""
    with organizations(state, organization) as apis:
        api = _nearest(apis, task)
        with api.stream(f"/task/{task}/logs/stream/") as response:
            if response.status_code == 410:
                raise ApiAway(f"There is no log of task {task}.")
            if response.is_error:
                response.read()
                raise ApiAway(f"{api.name} answers {response.status_code}: {response.text[:200]}")
            try:
                _print(events(response.iter_lines()), follow=follow)
            except KeyboardInterrupt:
                return


def events(lines: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Name and data of server-sent events; comments are left out."""
    name = ""
    for line in lines:
        word, _, value = line.partition(": ")
        if word == "event":
            name = value
        elif word == "data":
            yield name, json.loads(value)


def _print(found: Iterable[tuple[str, Any]], *, follow: bool) -> None:
    for name, data in found:
        if name == "log":
            sys.stdout.write(data)
            sys.stdout.flush()
        elif name == "attempt":
            sys.stderr.write("\n[the task starts again]\n")
        elif name == "end":
            sys.stderr.write(f"[{data['status']}]\n")
            return
        elif name == "now" and not follow:
            sys.stderr.write(f"[{data['status']}: -f goes on]\n")
            return


def _nearest(apis: list[OrganizationApi], task: str) -> OrganizationApi:
    """The organization that works on the task where it may be asked, for it alone has logs of successes."""
    for api in apis:
        found = api.get(f"/task/{task}/")
        if found is not None:
            return next((other for other in apis if other.msp_id == found["worker"]), api)
    raise ApiAway(f"No organization knows the task {task}.")
