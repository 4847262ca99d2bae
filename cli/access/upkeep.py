"""`substra-ray accounts sync` and `substra-ray migrate`: what they do."""

from pathlib import Path
from typing import TYPE_CHECKING

from cli.access.answers import Answers, Refused

if TYPE_CHECKING:
    from backend.node import Node

COLUMNS = ("kind", "name", "outcome")


def sync(node: "Node", answers: Answers, file: Path, *, dry_run: bool) -> None:
    """Make or change what the file lists, all or nothing; nothing is deleted."""
    from backend.access.account_file import AccountFileInvalid, apply, read

    try:
        accounts = read(file, node.settings)
    except AccountFileInvalid as error:
        raise Refused(str(error)) from None
    with node.database.transaction() as session:
        outcomes = apply(session, node.settings, accounts)
        if dry_run:
            session.rollback()
    answers.rows(COLUMNS, outcomes)


def migrate(node: "Node", answers: Answers) -> None:
    """Bring the database to the schema of this version, and make the bucket if there is to be one."""
    from backend.kit.migrations import SchemaUnusable, prepare, revision

    before = revision(node.database)
    try:
        prepare(node.database)
    except SchemaUnusable as error:
        raise Refused(str(error)) from None
    node.storage.prepare()
    after = revision(node.database)
    if before == after:
        text = f"The schema is at {after} already."
    else:
        text = f"The schema went from {before or 'nothing'} to {after}."
    answers.done(text, before=before, after=after)
