"""The words of the commands about accounts: all there, all alike, all in the documentation."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main
from typer.testing import CliRunner

from cli.access.place import KNOWN_BY
from cli.main import app

ROOT = Path(__file__).parents[3]
GROUPS = ("users", "organizations", "tokens", "accounts")
EXPECTED = {
    *("users add", "users list", "users role", "users approve", "users password", "users delete"),
    *("organizations add-incoming", "organizations add-outgoing"),
    *("organizations list", "organizations check", "tokens list", "tokens revoke"),
    *("accounts sync", "migrate"),
}


def commands() -> Iterator[tuple[str, click.Command]]:
    root = typer.main.get_command(app)
    found = getattr(root, "commands", {})
    for group in GROUPS:
        yield from ((f"{group} {name}", c) for name, c in found[group].commands.items())
    yield "migrate", found["migrate"]


def test_all_commands_are_there() -> None:
    assert {name for name, _ in commands()} == EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_takes_a_place_and_an_output_and_is_documented(name: str) -> None:
    command = dict(commands())[name]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--settings", "--org", "--state", "--output"} <= options
    assert command.help
    assert f"`substra-ray {name}" in (ROOT / "docs" / "accounts.md").read_text("utf-8")


def test_no_command_takes_a_secret_as_a_word() -> None:
    for name, command in commands():
        for parameter in command.params:
            assert not {"--password", "--secret", "--token"} & set(parameter.opts), name


def test_without_a_place_the_command_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*KNOWN_BY, "SUBSTRA_RAY_SETTINGS"):
        monkeypatch.delenv(variable, raising=False)
    result = CliRunner().invoke(app, ["users", "list"])
    assert result.exit_code == 2
    assert "--settings FILE" in result.stderr
    both = CliRunner().invoke(app, ["users", "list", "--settings", "x", "--org", "org-1"])
    assert both.exit_code == 2


def test_shell_completes_commands_and_options() -> None:
    environment = {
        **os.environ,
        "_SUBSTRA_RAY_COMPLETE": "complete_bash",
        "COMP_WORDS": "substra-ray organizations add-",
        "COMP_CWORD": "2",
    }
    code = "import sys\nsys.argv = ['substra-ray']\nfrom cli.main import app\napp(prog_name='substra-ray')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["add-incoming", "add-outgoing"], done.stderr
