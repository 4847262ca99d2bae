"""What a walk found, line by line as it is found: a walk that was stopped goes on from there."""

from collections import Counter
from pathlib import Path

from tests.chaos.walk import Step

HEAD = f"{'outcome':12} {'after':>7} {'well':>7}  {'process':10} {'story':13} crash point"


class Journal:
    """A file of lines; None: they are only printed. Lines of points that were survived count at a resume."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.survived = _survived(path)
        self.steps: list[Step] = []

    def add(self, step: Step) -> str:
        """Note a step; returns the line that tells it."""
        self.steps.append(step)
        told = line(step)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(told + "\n")
        return told

    def table(self) -> list[str]:
        """Points by the process that died there and the outcome."""
        columns = ("ok", "at once", "not reached", "no time left", "broken")
        counts: dict[str, Counter[str]] = {}
        for step in self.steps:
            column = "broken" if step.broken else step.outcome
            row = counts.setdefault(step.process, Counter())
            row[column] += 1
            row["at once"] += step.outcome == "ok" and not step.before
        head = f"{'process':12}" + "".join(f"{column:>14}" for column in columns)
        rows = [
            f"{process:12}" + "".join(f"{row[column]:>14}" for column in columns)
            for process, row in sorted(counts.items())
        ]
        return [head, *rows]

    @property
    def broken(self) -> int:
        return sum(step.broken for step in self.steps)


def line(step: Step) -> str:
    """One line; what went wrong stands at its end, the point before it."""
    outcome = "broken" if step.broken else step.outcome
    times = f"{step.after_s:5.1f} s {step.on_s:5.1f} s"
    words = f"{outcome:12} {times}  {step.process:10} {step.scenario:13} {step.point}"
    if step.broken:
        return f"{words}  {step.outcome}"
    return f"{words}  at the second try; first: {step.before}" if step.before else words


def _survived(path: Path | None) -> set[str]:
    if path is None or not path.exists():
        return set()
    lines = path.read_text("utf-8").splitlines()
    return {_point(each) for each in lines if each.startswith("ok ")}


def _point(told: str) -> str:
    return told.split("  at the second try")[0].split()[-1]
