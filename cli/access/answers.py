"""What these commands print, and the status with which they end.

Text for people or one JSON document for programs on standard output; errors in the same form on standard error.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

REFUSED = 1  # nothing was changed: unknown, there already, or against a rule
WIDTH_OF_PIPES = 240  # lines stay whole for grep
UNREACHABLE = 3  # the settings, the database or another organization's secret cannot be read


class Refused(Exception):
    """Ends a command with one message; nothing was changed."""

    def __init__(self, message: str, status: int = REFUSED) -> None:
        super().__init__(message)
        self.status = status


class Answers:
    """Writes in the form that `--output` chose."""

    def __init__(self, output: str) -> None:
        self._as_json = output == "json"
        width = None if sys.stdout.isatty() else WIDTH_OF_PIPES
        self._console = Console(highlight=False, width=width)

    def done(self, message: str, **content: Any) -> None:
        """One fact."""
        if self._as_json:
            self._write(content)
        else:
            self._console.print(message, markup=False, soft_wrap=True)

    def rows(self, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
        """A table, or a JSON array of objects."""
        if self._as_json:
            self._write([{name: row[name] for name in columns} for row in rows])
            return
        table = Table(box=None, pad_edge=False)
        for name in columns:
            table.add_column(name.replace("_", " "), overflow="fold")
        for row in rows:
            table.add_row(*(_shown(row[name]) for name in columns))
        self._console.print(table, markup=False)

    @contextmanager
    def refusals(self, way_out: str = "") -> Iterator[None]:
        """A refusal, or an environment that is not there, is one message and a status; no traceback.

        `way_out` is said when the database does not answer.
        """
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        from backend.kit.errors import ApiError
        from backend.ports.storage import StorageUnavailable

        try:
            yield
        except Refused as error:
            self._refuse(str(error), error.status)
        except StorageUnavailable as error:
            self._refuse(f"The object store cannot be used: {error.cause}", UNREACHABLE)
        except ApiError as error:
            self._refuse(_sentence(error.detail), REFUSED)
        except DBAPIError as error:
            reason = str(error.orig).strip().splitlines()[0] if error.orig else "no connection"
            text = f"The database cannot be used: {reason} {way_out}".rstrip()
            self._refuse(text, UNREACHABLE)
        except SQLAlchemyError as error:
            reason = type(error).__name__
            self._refuse(f"The database cannot be used: {reason}", UNREACHABLE)

    def _refuse(self, message: str, status: int) -> None:
        text = json.dumps({"error": message, "status": status}) if self._as_json else message
        sys.stderr.write(text + "\n")
        raise typer.Exit(status)

    def _write(self, content: Any) -> None:
        from backend.kit.answers import dumps

        sys.stdout.write(dumps(content).decode() + "\n")


def _shown(value: Any) -> str:
    from datetime import datetime

    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.strftime("%Y-%m-%d %H:%M") if isinstance(value, datetime) else str(value)


def _sentence(detail: Any) -> str:
    """The messages of a refusal, whatever shape they have on the wire."""
    if isinstance(detail, dict):
        return " ".join(f"{name}: {_sentence(value)}" for name, value in detail.items())
    return " ".join(map(str, detail)) if isinstance(detail, list) else str(detail)
