"""The folder of crash points of one test network (backend/kit/crash_points.py): what was seen, armed, hit."""

import time
from pathlib import Path

from backend.kit.crash_points import PERMISSION, VARIABLE


class Armory:
    """Made before the network starts: its processes look for the folder once, at their start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True)
        for name in ("seen", "armed", "hit"):
            (folder / name).mkdir()
        (folder / PERMISSION).touch()

    @property
    def environment(self) -> dict[str, str]:
        """What the network's processes need to find it."""
        return {VARIABLE: str(self.folder)}

    def seen_since(self, moment: float) -> set[str]:
        """Points that were reached since then, of time.time()."""
        return {p.name for p in (self.folder / "seen").iterdir() if p.stat().st_mtime >= moment}

    def arm(self, point: str) -> None:
        """The next process that reaches the point dies there."""
        (self.folder / "hit" / point).unlink(missing_ok=True)
        (self.folder / "armed" / point).touch()

    def disarm(self) -> None:
        """Nobody dies any more."""
        for path in (self.folder / "armed").iterdir():
            path.unlink(missing_ok=True)

    def is_hit(self, point: str) -> bool:
        return (self.folder / "hit" / point).exists()

    def hit_s_ago(self, point: str) -> float:
        """Seconds since a process died at the point; raises FileNotFoundError when none did."""
        return time.time() - (self.folder / "hit" / point).stat().st_ctime
