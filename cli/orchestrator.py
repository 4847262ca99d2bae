"""`substra-ray orchestrator`: the ledger alone, and what is done to a whole ledger. Imports lazily."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Serve the ledger alone: a channel file, a database or state folder. Back it up, restore, check it.",
    invoke_without_command=True,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
)
Database = Annotated[
    str | None,
    typer.Option("--database", help="PostgreSQL URL (or ORCHESTRATOR_DATABASE_URL)."),
]
State = Annotated[
    Path | None,
    typer.Option(
        "--state", help="Folder of a ledger with the bundled PostgreSQL, or of a network."
    ),
]


@app.callback()
def serve(
    context: typer.Context,
    channels: Annotated[
        Path | None,
        typer.Option("--channels", help="Channel file (or ORCHESTRATOR_CHANNEL_CONFIG)."),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            help="HOST:PORT (or ORCHESTRATOR_LISTEN; 127.0.0.1:9000 without).",
        ),
    ] = None,
    database: Database = None,
    state: State = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", help="HOST:PORT of /metrics; off by default.")
    ] = None,
) -> None:
    """Serve the ledger until Ctrl-C: a channel file, and a database or a state folder.

    docs/ledger.md lists the variables for TLS and the rest.
    """
    if context.invoked_subcommand:
        context.obj = (database, state)
        return
    from cli.ledger import serve as run

    run(channels=channels, listen=listen, database=database, state=state, metrics=metrics)


@app.command()
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File to write; it must not exist.")],
    database: Database = None,
    state: State = None,
) -> None:
    """Write the whole ledger into one file. Writing may go on meanwhile."""
    from cli.ledger import backup as run

    run(file, *_place(context, database, state))


@app.command()
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File that `backup` wrote.")],
    database: Database = None,
    state: State = None,
) -> None:
    """Fill an empty ledger from a backup."""
    from cli.ledger import restore as run

    run(file, *_place(context, database, state))


@app.command()
def replay(context: typer.Context, database: Database = None, state: State = None) -> None:
    """Check that the events alone rebuild the tables; exit status 1 when they do not."""
    from cli.ledger import replay as run

    run(*_place(context, database, state))


def _place(
    context: typer.Context, database: str | None, state: Path | None
) -> tuple[str | None, Path | None]:
    """Options may stand before the command's name too."""
    before = context.obj or (None, None)
    return (database, state) if database or state else before
