"""`substra-ray fixtures` and `substra-ray serve`: one API alone, with sample data or with given settings."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backend.settings import Settings

State = Annotated[
    Path, typer.Option("--state", help="Folder of the database.", envvar="SUBSTRA_RAY_STATE")
]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="Where the API listens.")]
STATE = Path(".substra-ray")
app = typer.Typer()


@contextmanager
def _isolated(state: Path, port: int) -> "Iterator[Settings]":
    """Settings of the API alone; ends the command in one line when the folder or the port is taken."""
    from network.isolated import FolderInUse, isolated

    try:
        with isolated(state, port=port) as settings:
            yield settings
    except FolderInUse as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


@app.command()
def fixtures(state: State = STATE) -> None:
    """Write sample data for `ISOLATED=1 substra-ray serve`: plans in every state."""
    from backend.app import start
    from backend.fixtures.writing import write_sample
    from backend.node import Node

    with _isolated(state, 8000) as settings:
        node = Node.build(settings)
        try:
            start(node)
            for channel in settings.CHANNELS:
                users = [user.username for user in settings.USERS if user.channel == channel]
                write_sample(node, channel, users[0] if users else "")
        finally:
            node.close()
    folder = "" if state == STATE else f" --state {state}"
    typer.echo(f"Sample data is there: ISOLATED=1 substra-ray serve{folder}")


@app.command()
def serve(
    port: Port = 8000,
    state: State = STATE,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="JSON file of an organization's settings.")
    ] = None,
) -> None:
    """Serve one organization's API until Ctrl-C: isolated (ISOLATED=1), or by a file of settings."""
    if settings is None and os.environ.get("ISOLATED", "").lower() not in (
        "1",
        "true",
        "yes",
        "on",
    ):
        typer.echo(
            "Say ISOLATED=1 or --settings FILE; `substra-ray up` starts a network.", err=True
        )
        raise typer.Exit(2)
    from backend.asgi import serve as run
    from cli.access.answers import Refused
    from cli.access.place import settings_of
    from network.ports import is_free

    if not is_free(port):
        typer.echo(
            f"Port {port} is taken by another program: give another one with --port.", err=True
        )
        raise typer.Exit(1)
    if settings is not None:
        try:
            given = settings_of(settings, None, state)
        except Refused as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(error.status) from None
        run(given, port=port)
        return

    with _isolated(state, port) as found:
        for user in found.USERS:
            typer.echo(f"{found.DEFAULT_DOMAIN}  user {user.username}  password {user.password}")
        run(found, port=port)
