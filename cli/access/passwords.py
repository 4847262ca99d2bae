"""Where a secret comes from: a hidden question, standard input, or chance. Never the command line."""

import sys
from secrets import token_urlsafe

import typer

from cli.access.answers import Refused


def secret(what: str, *, generate: bool) -> tuple[str, bool]:
    """A secret, and whether it was made here and so has to be shown.

    From a terminal it is asked twice; from a pipe it is the first line.

    Raises:
        Refused: nothing was given.
    """
    if generate:
        return token_urlsafe(24), True
    if sys.stdin.isatty():
        given = typer.prompt(what, hide_input=True, confirmation_prompt=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        raise Refused(f"{what}: nothing was given (one line on standard input, or --generate).", 2)
    return str(given), False
