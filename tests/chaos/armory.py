"""The folder of crash points of one test network (backend/kit/crash_points.py): what was seen, armed, hit."""

import time
from pathlib import Path

from backend.kit.crash_points import PERMISSION, VARIABLE

PROCESSES = (
    ("ledger", "-m orchestrator"),
    ("api", "backend.asgi"),
    ("control", "backend.engine.actors"),
    ("runner", "-m ray_jobs"),
    ("runner", "ray::Runner"),
    ("control", "ray::Control"),
    ("replica", "ray::ServeReplica"),
    ("ray worker", "ray::"),
)
"""Kinds of processes, by what their command lines or titles hold; the first that fits."""


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

    def visitors(self, point: str) -> set[str]:
        """Kinds of processes that ever reached the point; none before anybody did."""
        path = self.folder / "seen" / point
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        return {kind_of(line) for line in lines if line}

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

    def victim(self, point: str) -> str:
        """The kind of process that died at the point."""
        return kind_of((self.folder / "hit" / point).read_text("utf-8"))

    def hit_s_ago(self, point: str, now: float | None = None) -> float:
        """Seconds from the death at the point to `now`; raises FileNotFoundError when nobody died."""
        moment = (self.folder / "hit" / point).stat().st_mtime
        return (time.time() if now is None else now) - moment


def kind_of(command: str) -> str:
    """`api`, `control`, `runner` … for a command line or a title of Ray's."""
    return next((kind for kind, sign in PROCESSES if sign in command), "other")
