"""`substra-ray fixtures` and `substra-ray serve`: one API alone, with sample data or with given settings."""

import os
from pathlib import Path
from typing import Annotated

import typer

State = Annotated[
    Path, typer.Option("--state", help="Folder of the database.", envvar="SUBSTRA_RAY_STATE")
]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="Where the API listens.")]
STATE = Path(".substra-ray")
app = typer.Typer()


@app.command()
def fixtures(state: State = STATE) -> None:
    """Write sample data for `ISOLATED=1 substra-ray serve`: plans in every state."""
    from backend.app import start
    from backend.fixtures.writing import write_sample
    from backend.node import Node
    from network.isolated import isolated

    with isolated(state, port=8000) as settings:
        node = Node.build(settings)
        try:
            start(node)
            for channel in settings.CHANNELS:
                users = [user.username for user in settings.USERS if user.channel == channel]
                write_sample(node, channel, users[0] if users else "")
        finally:
            node.close()
    typer.echo("Sample data is there: ISOLATED=1 substra-ray serve")


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
    from backend.settings import Settings
    from network.isolated import isolated

    if settings is not None:
        run(Settings.read(settings), port=port)
        return

    with isolated(state, port=port) as found:
        for user in found.USERS:
            typer.echo(f"{found.DEFAULT_DOMAIN}  user {user.username}  password {user.password}")
        run(found, port=port)
