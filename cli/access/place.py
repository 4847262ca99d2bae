"""Which organization a command works on: its settings, opened."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cli.access.answers import UNREACHABLE, Refused

if TYPE_CHECKING:
    from backend.node import Node
    from backend.settings import Settings

KNOWN_BY = ("DATABASE_URL", "DATABASE_HOSTNAME", "MSP_ID")  # variables that name an organization


def settings_of(file: Path | None, organization: str | None, state: Path) -> "Settings":
    """A settings file, an organization of an embedded network, or the environment, in this order.

    Raises:
        Refused: none of them is there, or it cannot be read; nothing of the content is repeated.
    """
    from pydantic import ValidationError

    from backend.settings import Settings

    if file is not None and organization is not None:
        raise Refused("Give --settings or --org, not both.", 2)
    if organization is not None:
        file = _embedded(organization, state)
    try:
        if file is not None:
            return Settings.read(file)
        if any(os.environ.get(name) for name in KNOWN_BY):
            return Settings()
    except OSError as error:
        message = f"{file}: {error.strerror or type(error).__name__}"
        raise Refused(message, UNREACHABLE) from None
    except ValidationError as error:
        names = ", ".join(
            sorted({str(entry["loc"][0]) for entry in error.errors() if entry["loc"]})
        )
        raise Refused(
            f"Wrong settings: {names or 'they contradict each other'}", UNREACHABLE
        ) from None
    except (ValueError, TypeError):
        raise Refused(f"{file}: not a JSON object with settings", UNREACHABLE) from None
    raise Refused("Which organization? --settings FILE, or --org org-1 --state FOLDER.", 2)


def _embedded(organization: str, state: Path) -> Path:
    from network.layout import Layout

    file = Layout.at(state).settings_file(organization)
    if not file.is_file():
        raise Refused(f"There is no {organization} in the network of {state}.", UNREACHABLE)
    return file


@contextmanager
def opened(file: Path | None, organization: str | None, state: Path) -> Iterator["Node"]:
    """The organization's parts; its database must have the schema of this version (`migrate`)."""
    from backend.node import Node

    node = Node.build(settings_of(file, organization, state), pool_size=4)
    try:
        yield node
    finally:
        node.close()
