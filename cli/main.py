"""`substra-ray`: the commands. Everything heavy is imported inside them, so that `--help` stays quick."""

from pathlib import Path
from typing import Annotated

import typer

from cli.access.commands import add_to as add_access_commands
from cli.compute import add_to as add_compute_commands
from cli.doctor import add_to as add_doctor
from cli.isolated import app as isolated
from cli.orchestrator import app as ledger

app = typer.Typer(
    name="substra-ray",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Substra Ray: a federated-learning network. `up` starts one on this machine.",
)
app.add_typer(ledger, name="orchestrator")
app.add_typer(isolated)
add_doctor(app)
add_access_commands(app)
add_compute_commands(app)
State = Annotated[
    Path, typer.Option("--state", help="Folder of the network.", envvar="SUBSTRA_RAY_STATE")
]
STATE = Path(".substra-ray")


@app.command()
def up(
    orgs: Annotated[
        int | None,
        typer.Option("--orgs", min=1, max=20, help="Organizations (2 in a new network)."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="Front door (8000 in a new network)."),
    ] = None,
    state: State = STATE,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=64, help="Runners of each organization."),
    ] = None,
    plain: Annotated[
        bool | None, typer.Option("--plain/--ray", help="Without Ray: plain processes.")
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and end all on Ctrl-C.")
    ] = False,
    frontend: Annotated[
        Path | None,
        typer.Option("--frontend", help="Folder of a built front end, served beside the API."),
    ] = None,
) -> None:
    """Start the network, or continue it, and return when everything answers."""
    from cli.network import up as run

    run(
        state,
        orgs=orgs,
        port=port,
        workers=workers,
        plain=plain,
        foreground=foreground,
        frontend=frontend,
    )


@app.command()
def down(
    state: State = STATE,
    purge: Annotated[
        bool, typer.Option("--purge", help="Remove all data of the network too.")
    ] = False,
) -> None:
    """End the network; `up` continues it."""
    from cli.network import down as run

    run(state, purge=purge)


@app.command()
def status(
    state: State = STATE,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show the network and its processes; exit status 1 when it is not up."""
    from cli.network import status as run

    run(state, as_json=as_json)


@app.command()
def demo(
    state: State = STATE,
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="Front door (8000 in a new network)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line.")] = False,
    output: Annotated[Path, typer.Option("--output", help="Folder of the picture.")] = Path(
        "demo-output"
    ),
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, help="Rounds of federated averaging.")
    ] = None,
    end: Annotated[bool, typer.Option("--down", help="End the network afterwards.")] = False,
) -> None:
    """Bring a network up and let its organizations train a model together."""
    from cli.network import demo as run

    run(state, port=port, as_json=as_json, output=output, rounds=rounds, end=end)


if __name__ == "__main__":
    app()
