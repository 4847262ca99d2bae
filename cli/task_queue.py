"""What `substra-ray queue` prints."""

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from cli.organization_api import ApiAway, OrganizationApi, organizations

console = Console(highlight=False, soft_wrap=True)


def show(state: Path, task: str | None, *, organization: str | None, as_json: bool) -> None:
    """One task, or the whole queue of each organization."""
    with organizations(state, organization) as apis:
        content = _task(apis, task) if task else {api.name: api.get("/queue/") for api in apis}
    if as_json:
        sys.stdout.write(json.dumps(content, indent=1) + "\n")
    elif task:
        _print_task(content)
    else:
        for name, queue in content.items():
            _print_queue(name, queue)


def _task(apis: list[OrganizationApi], task: str) -> dict[str, Any]:
    for api in apis:
        found: dict[str, Any] | None = api.get(f"/task/{task}/queue/")
        if found is not None:
            return found
    raise ApiAway(f"No organization knows the task {task}.")


def _print_task(task: dict[str, Any]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    for name in ("key", "status", "worker", "position", "reason", "attempts", "tries"):
        if task[name] is not None:
            table.add_row(name, str(task[name]))
    for name in ("not_before", "last_error"):
        if task[name]:
            table.add_row(name.replace("_", " "), str(task[name]))
    for name, amount in (task["resources"] or {}).items():
        table.add_row(name, f"{amount:g}")
    console.print(table, markup=False)


def _print_queue(name: str, queue: dict[str, Any]) -> None:
    console.print(f"{name}, {queue['channel']}", style="bold", markup=False)
    if not (queue["plans"] or queue["builds"]):
        console.print("  nothing waits", markup=False)
    if queue["plans"]:
        columns = ("running", "ready", "preparing", "reporting")
        plan = Column("plan", min_width=36)  # a whole key, to be copied
        table = Table(plan, Column("name", overflow="fold"), *columns, "weight", box=None)
        for row in queue["plans"]:
            cells = [str(row[column]) for column in columns]
            weight = f"{row['weight'] or 1:g}"
            table.add_row(row["compute_plan_key"], row["name"], *cells, weight)
        console.print(table, markup=False)
    for row in queue["builds"]:
        word = "builds" if row["running"] else "waits to be built"
        console.print(f"  function {row['key']} {word}: {row['name']}", markup=False)
    for row in queue["trouble"]:
        times = row["attempts"] + row["tries"]
        why = row["cause"] or row["last_error"]
        console.print(f"  {row['kind']} {row['key']}, attempt {times}: {why}", markup=False)
