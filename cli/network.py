"""What `up`, `down` and `status` say: tables and messages around network/control.py."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from types import FrameType
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Column, Table

from network import control
from network.front_door import FrontDoorUnavailable
from network.layout import Layout, UnusableFolder
from network.postgres_binaries import PostgresUnavailable
from network.settings_files import network_of
from network.state import State, UnusableState
from network.status import is_up
from network.status import status as status_of

REFUSALS = (
    *(control.NetworkError, UnusableFolder, UnusableState),
    *(PostgresUnavailable, FrontDoorUnavailable),
)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def _clear_messages() -> Iterator[None]:
    """A refusal is one message and exit status 1, no traceback."""
    try:
        yield
    except REFUSALS as error:
        errors.print(
            f"[red]{error}[/]" if sys.stderr.isatty() else str(error), markup=sys.stderr.isatty()
        )
        raise typer.Exit(1) from None


def up(
    state: Path,
    *,
    orgs: int | None,
    port: int | None,
    workers: int | None,
    plain: bool | None,
    foreground: bool,
    frontend: Path | None = None,
) -> None:
    layout = Layout.at(state)
    began = time.monotonic()
    with _clear_messages():
        outcome, made = control.prepare(
            layout,
            organizations=orgs,
            port=port,
            workers=workers,
            plain=plain,
            frontend=frontend,
        )
        if outcome == "running":
            console.print(f"The network in {layout.state} is running already.")
            _wait(layout, made)
            _show(layout, made)
            if foreground:
                console.print("It runs in the background: `substra-ray down` ends it.")
            return
        if foreground:
            _stay(layout, made)
            return
        process = control.start_detached(layout) if outcome == "started" else None
        try:
            _wait(layout, made, process)
        except control.NeverUp:
            if outcome == "started":
                control.stop(layout)
            raise
    word = "Extended" if outcome == "extended" else "Up"
    _show(layout, made)
    console.print(f"{word} after {time.monotonic() - began:.1f} s. `substra-ray down` ends it.")


def _wait(layout: Layout, state: State, supervisor: "Popen[bytes] | None" = None) -> None:
    with console.status("Starting …") as shown:
        for missing in control.wait_until_up(layout, state, supervisor=supervisor):
            shown.update(f"Starting … waiting for {', '.join(missing[:4])}")


def _stay(layout: Layout, state: State) -> None:
    """Run the supervisor below this terminal; Ctrl-C, or the terminal's end, ends all."""
    process = control.start_detached(layout)

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    try:
        _wait(layout, state, process)
        _show(layout, state)
        console.print("Up. Ctrl-C ends it.")
    except control.NetworkError:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    process.wait()
    control.stop(layout)
    console.print("Down.")


def _show(layout: Layout, state: State) -> None:
    network = network_of(state)
    where = Column("password", overflow="fold")
    table = Table("organization", "URL", "user", where, box=None, pad_edge=False)
    for row in network["organizations"]:
        table.add_row(row["name"], row["url"], row["username"], f"in {layout.network_file}")
    console.print(table)
    for row in network["organizations"]:
        if "page" in row:
            console.print(f"front end      {row['page']}/ (user {row['username']})")
    console.print(f"ledger         {network['orchestrator']}")
    if network["dashboard"]:
        console.print(f"Ray dashboard  {network['dashboard']} (token in {layout.ray_token_file})")
        ports = f"{state.ports['serve-stats']} and {state.ports['serve-metrics']}"
        console.print(f"Open to other machines: statistics of Ray's HAProxy, ports {ports}")


def down(state: Path, *, purge: bool) -> None:
    layout = Layout.at(state)
    with _clear_messages():
        ran = control.stop(layout)
        console.print("Down." if ran else f"No network is running in {layout.state}.")
        if purge:
            control.purge(layout)
            console.print("Its data are removed.")


def status(state: Path, *, as_json: bool) -> None:
    layout = Layout.at(state)
    with _clear_messages():
        content = status_of(layout)
    if content is None:
        _refuse(f"There is no network in {layout.state}. `substra-ray up` makes one.")
    if as_json:
        sys.stdout.write(json.dumps(content, indent=1) + "\n")
    else:
        _show_status(layout, content)
    if not is_up(content):
        raise typer.Exit(1)


def _show_status(layout: Layout, content: dict[str, Any]) -> None:
    if not content["processes"]:
        console.print(f"The network in {layout.state} is down. `substra-ray up` continues it.")
        return
    table = Table("role", "organization", "pid", "healthy", box=None, pad_edge=False)
    for row in content["processes"]:
        pid = "" if row["pid"] is None else str(row["pid"])
        table.add_row(
            row["role"], row["organization"] or "", pid, "yes" if row["healthy"] else "no"
        )
    console.print(table)
    for row in content["organizations"]:
        console.print(f"{row['name']}  {row['url']}")


def demo(
    state: Path,
    *,
    port: int | None,
    as_json: bool,
    output: Path,
    rounds: int | None,
    end: bool,
) -> None:
    """`up`, then the demonstration. With `--json`, standard output holds nothing but the last line."""
    console.stderr = as_json
    try:
        from network.demo.main import main
    except ModuleNotFoundError as error:
        _refuse(
            f"The demo needs more packages ({error.name}): pip install 'substra-ray[local,demo]'"
        )
    up(state, orgs=None, port=port, workers=None, plain=None, foreground=False)
    layout = Layout.at(state)
    made = State.load(layout)
    assert made is not None
    given = {} if rounds is None else {"rounds": rounds}
    code = main(network_of(made), json=as_json, output=output, **given)
    if end:
        down(state, purge=False)
    raise typer.Exit(code)


def _refuse(text: str) -> NoReturn:
    errors.print(text)
    raise typer.Exit(1)
