"""The commands about accounts, secrets, tokens and the schema: their words only, quick to import.

Each works on a settings file (`--settings`), an organization of an embedded network (`--org`, `--state`), or
the environment, and ends with status 0 done, 1 refused, 2 wrong usage, 3 settings or database out of reach.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backend.node import Node
    from cli.access.answers import Answers


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


class Role(StrEnum):
    ADMIN = "ADMIN"
    USER = "USER"


STATUSES = "Status: 0 done, 1 refused, 2 wrong usage, 3 settings or database out of reach."
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings", help="Settings file of the organization.", envvar="SUBSTRA_RAY_SETTINGS"
    ),
]
Org = Annotated[
    str | None, typer.Option("--org", help="Organization of an embedded network: org-1.")
]
State = Annotated[
    Path,
    typer.Option("--state", help="Folder of the embedded network.", envvar="SUBSTRA_RAY_STATE"),
]
As = Annotated[Output, typer.Option("--output", help="text, or json for programs.")]
Name = Annotated[str, typer.Argument(help="User name.")]
Id = Annotated[str, typer.Argument(help="Organization id, as on the ledger: MyOrg2MSP.")]
Channel = Annotated[str | None, typer.Option("--channel", help="Needed when there are several.")]
Generate = Annotated[bool, typer.Option("--generate", help="Make one and show it once.")]
Weak = Annotated[bool, typer.Option("--weak", help="Without the rules for passwords.")]
STATE = Path(".substra-ray")

users = typer.Typer(no_args_is_help=True, help="People's accounts.", epilog=STATUSES)
organizations = typer.Typer(
    no_args_is_help=True, help="Secrets shared with other organizations.", epilog=STATUSES
)
tokens = typer.Typer(no_args_is_help=True, help="Tokens of all users.", epilog=STATUSES)
accounts = typer.Typer(no_args_is_help=True, help="Accounts listed in a file.", epilog=STATUSES)


def add_to(app: typer.Typer) -> None:
    """Make these commands part of `substra-ray`."""
    app.add_typer(users, name="users")
    app.add_typer(organizations, name="organizations")
    app.add_typer(tokens, name="tokens")
    app.add_typer(accounts, name="accounts")
    app.command(epilog=STATUSES)(migrate)


@contextmanager
def _at(
    settings: Path | None, org: str | None, state: Path, output: Output
) -> Iterator[tuple["Node", "Answers"]]:
    from cli.access.answers import Answers
    from cli.access.place import opened

    answers = Answers(output)
    way_out = "Is the network up? substra-ray up" if org else ""
    with answers.refusals(way_out), opened(settings, org, state) as node:
        yield node, answers


# ---------------------------------------------------------------------------- users
@users.command("add")
def add_user(
    name: Name,
    role: Annotated[Role, typer.Option("--role")] = Role.USER,
    channel: Channel = None,
    generate: Generate = False,
    weak: Weak = False,
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """Add a user; the password is asked, read from standard input, or generated."""
    from cli.access import users as run

    with _at(settings, org, state, output) as (node, answers):
        run.add(node, answers, name, role=role, channel=channel, generate=generate, weak=weak)


@users.command("list")
def list_users(
    channel: Annotated[str | None, typer.Option("--channel", help="Of this one only.")] = None,
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """List the users of all channels, and those that wait for one."""
    from cli.access import users as run

    with _at(settings, org, state, output) as (node, answers):
        run.listed(node, answers, channel=channel)


@users.command("role")
def change_role(
    name: Name,
    role: Annotated[Role, typer.Argument()],
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """Change a user's role."""
    from cli.access import users as run

    with _at(settings, org, state, output) as (node, answers):
        run.role(node, answers, name, role)


@users.command("approve")
def approve_user(
    name: Name,
    role: Annotated[Role, typer.Option("--role")] = Role.USER,
    channel: Channel = None,
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """Let a user who waits for approval into a channel."""
    from cli.access import users as run

    with _at(settings, org, state, output) as (node, answers):
        run.approve(node, answers, name, role=role, channel=channel)


@users.command("password")
def change_password(
    name: Name,
    generate: Generate = False,
    weak: Weak = False,
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """Give a user a new password; its sessions end."""
    from cli.access import users as run

    with _at(settings, org, state, output) as (node, answers):
        run.password(node, answers, name, generate=generate, weak=weak)


@users.command("delete")
def delete_user(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """Remove a user with its tokens; its plans stay."""
    from cli.access import users as run

    with _at(settings, org, state, output) as (node, answers):
        run.delete(node, answers, name, yes=yes)


# ---------------------------------------------------------------------------- organizations
@organizations.command("add-incoming")
def add_incoming(
    organization: Id,
    generate: Generate = False,
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """Set the secret by which an organization calls this one; it is stored hashed."""
    from cli.access import organizations as run

    with _at(settings, org, state, output) as (node, answers):
        run.add_incoming(node, answers, organization, generate=generate)


@organizations.command("add-outgoing")
def add_outgoing(
    organization: Id,
    url: Annotated[
        str | None, typer.Option("--url", help="Its address; else the one that it registered.")
    ] = None,
    generate: Generate = False,
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """Set the secret with which this organization calls another; it is stored encrypted."""
    from cli.access import organizations as run

    with _at(settings, org, state, output) as (node, answers):
        run.add_outgoing(node, answers, organization, url=url, generate=generate)


@organizations.command("list")
def list_organizations(
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """List members of the channels and whose secrets are set."""
    from cli.access import organizations as run

    with _at(settings, org, state, output) as (node, answers):
        run.listed(node, answers)


@organizations.command("check")
def check_organizations(
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """Ask every organization whether it accepts this one's secret; status 1 when one does not."""
    from cli.access import organizations as run

    with _at(settings, org, state, output) as (node, answers):
        run.check(node, answers)


# ---------------------------------------------------------------------------- tokens
@tokens.command("list")
def list_tokens(
    user: Annotated[str | None, typer.Option("--user", help="Of this user only.")] = None,
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """List tokens, newest first; their secrets are known to their holders only."""
    from cli.access import tokens as run

    with _at(settings, org, state, output) as (node, answers):
        run.listed(node, answers, user=user)


@tokens.command("revoke")
def revoke_tokens(
    token: Annotated[str | None, typer.Argument(help="Id, as `tokens list` shows it.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="All that this user holds.")] = None,
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """Revoke a token, or all of a user together with its sessions."""
    from cli.access import tokens as run

    with _at(settings, org, state, output) as (node, answers):
        run.revoke(node, answers, id_=token, user=user)


# ---------------------------------------------------------------------------- upkeep
@accounts.command("sync")
def sync_accounts(
    file: Annotated[Path, typer.Argument(help="YAML or JSON file, or a folder of line files.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, but change nothing.")] = False,
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """Make or change the accounts and secrets that a file lists; nothing is ever deleted."""
    from cli.access import upkeep as run

    with _at(settings, org, state, output) as (node, answers):
        run.sync(node, answers, file, dry_run=dry_run)


def migrate(
    settings: SettingsFile = None,
    org: Org = None,
    state: State = STATE,
    output: As = Output.TEXT,
) -> None:
    """Bring an organization's database to the schema of this version."""
    from cli.access import upkeep as run

    with _at(settings, org, state, output) as (node, answers):
        run.migrate(node, answers)
