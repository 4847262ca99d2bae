"""What an environment's functions import, kept with the environment: names only, never believed (rule 13)."""

import json
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

MOST_NAMES = 2000  # scikit-learn and pandas are 1,500 modules
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,60}(\.[A-Za-z][A-Za-z0-9_]{0,60}){0,6}")
_LONGEST_FILE = 1 << 18


class Learned:
    """A file per environment key. Zygotes check again that a name is found below the environment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def names(self, environment: str) -> list[str]:
        """The names learned so far; nothing for a file that is damaged."""
        try:
            with (self._folder / f"{environment}.json").open("rb") as file:
                value = json.loads(file.read(_LONGEST_FILE))
        except (OSError, ValueError):
            return []
        return sane(value) if isinstance(value, list) else []

    def add(self, environment: str, names: list[str]) -> list[str] | None:
        """All names, if some of these are new and there is still room; else None."""
        known = self.names(environment)
        new = [name for name in sane(names) if name not in known][: MOST_NAMES - len(known)]
        if not new:
            return None
        everything = known + new
        file = self._folder / f"{environment}.json"
        fresh = file.with_suffix(f".{secrets.token_hex(4)}")
        fresh.write_text(json.dumps(everything), "utf-8")
        fresh.replace(file)
        return everything


def sane(names: Sequence[object]) -> list[str]:
    """Those that are names of modules, each once, no more than a zygote takes."""
    unique = dict.fromkeys(n for n in names if isinstance(n, str) and _NAME.fullmatch(n))
    return list(unique)[:MOST_NAMES]
