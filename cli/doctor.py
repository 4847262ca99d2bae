"""`substra-ray doctor`: what this machine has for a network, and what is missing."""

import json
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from network.findings import Finding


class Output(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(doctor)


def doctor(
    state: Annotated[
        Path, typer.Option("--state", help="Folder of the network.", envvar="SUBSTRA_RAY_STATE")
    ] = Path(".substra-ray"),
    output: Annotated[Output, typer.Option("--output", help="text or json.")] = Output.TEXT,
) -> None:
    """Look at Python, PostgreSQL, ports, disk and the walls around functions; exit status 1 at a problem."""
    from network.doctor import examine, exit_code

    findings = examine(state)
    code = exit_code(findings)
    if output is Output.JSON:
        content = {"ok": code == 0, "findings": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(content, indent=1) + "\n")
    else:
        _show(findings)
    raise typer.Exit(code)


def _show(findings: "list[Finding]") -> None:
    from rich.console import Console
    from rich.table import Column, Table

    console = Console(highlight=False)
    colors = {"ok": "green", "warning": "yellow", "problem": "red"}
    table = Table("", "what", Column("finding", overflow="fold"), box=None, pad_edge=False)
    area = ""
    for finding in findings:
        if finding.area != area:
            area = finding.area
            table.add_row("", f"[bold]{area}[/]", "")
        color = colors[finding.verdict]
        table.add_row(f"[{color}]{finding.verdict}[/]", f"  {finding.name}", finding.text)
    console.print(table)
    counts = {word: sum(f.verdict == word for f in findings) for word in colors}
    console.print(f"{counts['ok']} ok, {counts['warning']} warnings, {counts['problem']} problems")
