"""What `substra-ray logs` prints: a task's log, asked where the task is worked on."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cli.organization_api import ApiAway, OrganizationApi, organizations

ENDED = ("STATUS_DONE", "STATUS_FAILED", "STATUS_CANCELED")


def show(state: Path, task: str, *, organization: str | None, follow: bool) -> None:
    """Write the log to standard output; what is not of the log goes to standard error."""
    with organizations(state, organization) as apis:
        refusals: list[str] = []
        for api in _nearest_first(apis, task):
            with api.stream(f"/task/{task}/logs/stream/") as response:
                if response.is_success:
                    with suppress(KeyboardInterrupt):
                        _print(events(response.iter_lines()), follow=follow)
                    return
                response.read()
                refusals.append(_refusal(api.name, response.status_code))
        raise ApiAway("\n".join(dict.fromkeys(refusals)))


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
            ended = data["status"] in ENDED
            sys.stderr.write(
                f"[{data['status']}]\n" if ended else f"[{data['status']}: -f goes on]\n"
            )
            return


def _refusal(name: str, status: int) -> str:
    words = {
        403: "its users may not read these logs",
        410: "there is no log of this task",
        504: "the organization that works on the task cannot be reached",
    }
    return f"{name}: {words.get(status, f'it answers {status}')}"


def _nearest_first(apis: list[OrganizationApi], task: str) -> list[OrganizationApi]:
    """The organization that works on the task goes first, for it alone has logs of successes."""
    for api in apis:
        found = api.get(f"/task/{task}/")
        if found is not None:
            return sorted(apis, key=lambda other: other.msp_id != found["worker"])
    raise ApiAway(f"No organization knows the task {task}.")
