"""Figures with their peers and goals: as a table for people, as JSON for the next run to compare with."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measurement. `goal` is the largest ratio to `peer`, or without a peer the largest value."""

    name: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    goal: float | None = None
    at_least: bool = False  # the goal is a smallest value, not a largest

    @property
    def ratio(self) -> float | None:
        return self.ours / self.peer if self.peer else None

    @property
    def reached(self) -> bool | None:
        if self.goal is None:
            return None
        value = self.ours if self.ratio is None else self.ratio
        return value >= self.goal if self.at_least else value <= self.goal

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio, "reached": self.reached}


def table(figures: list[Figure]) -> Table:
    result = Table(title="Measured in one run on this machine", title_justify="left")
    for column in ("figure", "ours", "beside it", "ratio", "goal", ""):
        result.add_column(column, justify="left" if column in ("figure", "beside it") else "right")
    for figure in figures:
        sign = "≥" if figure.at_least else "≤"
        times = " ×" if figure.peer else f" {figure.unit}"
        result.add_row(
            figure.name,
            f"{figure.ours:.4g} {figure.unit}",
            f"{figure.peer:.4g} {figure.unit} {figure.peer_name}" if figure.peer else "–",
            f"{figure.ratio:.2f} ×" if figure.ratio else "",
            f"{sign} {figure.goal:g}{times}" if figure.goal is not None else "",
            {True: "yes", False: "no", None: ""}[figure.reached],
        )
    return result


def profile_table(profile: dict[str, float]) -> Table:
    result = Table(title="One task of a chain, in milliseconds", title_justify="left")
    result.add_column("step")
    result.add_column("ms", justify="right")
    for step, milliseconds in profile.items():
        result.add_row(step, f"{milliseconds:.1f}")
    return result
