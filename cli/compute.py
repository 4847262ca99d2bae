"""`queue` and `logs`: what runs, what waits and why, and what a task says, from the organizations' APIs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

STATE = Annotated[
    Path, typer.Option("--state", help="Folder of the network.", envvar="SUBSTRA_RAY_STATE")
]
ORGANIZATION = Annotated[
    str | None, typer.Option("--org", help="Ask this organization only, e.g. org-1.")
]
Form = Literal["table", "json"]


def queue(
    task: Annotated[str | None, typer.Argument(help="A task's key: its place and reason.")] = None,
    state: STATE = Path(".substra-ray"),
    org: ORGANIZATION = None,
    output: Annotated[Form, typer.Option("--output", help="table or json.")] = "table",
) -> None:
    """Show what runs and what waits, and why."""
    from cli.task_queue import show

    show(state, task, organization=org, as_json=output == "json")


def logs(
    task: Annotated[str, typer.Argument(help="A task's key.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on while the task runs.")
    ] = False,
    state: STATE = Path(".substra-ray"),
    org: ORGANIZATION = None,
) -> None:
    """Print what a task has said, and with -f what it says."""
    from cli.task_logs import show

    show(state, task, organization=org, follow=follow)


def add_to(app: typer.Typer) -> None:
    """Make them commands of `app`."""
    app.command()(queue)
    app.command()(logs)
