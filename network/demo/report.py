"""What the demo shows at its end: a table, a picture in the terminal and the same picture as PNG."""

from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

HEIGHT = 11  # lines of the terminal picture
STEP = 12  # columns from round to round
COLOURS = ("cyan", "magenta", "yellow", "green", "blue")
HEX = ("#0e7490", "#a21caf", "#b45309", "#15803d", "#1d4ed8")
MARKS = "●○▲△◆"


@dataclass(frozen=True)
class Curve:
    """One organization: accuracy after each round (0 is untrained), and what it reaches alone."""

    name: str
    by_round: list[float]
    alone: float


def table(curves: list[Curve]) -> Table:
    """Rounds down, organizations across, and each one's lonely result below."""
    result = Table(
        title="Accuracy on each organization's own test patients",
        title_justify="left",
        min_width=52,
    )
    result.add_column("round")
    for curve in curves:
        result.add_column(curve.name, justify="right")
    for index in range(len(curves[0].by_round)):
        name = f"{index}  (untrained)" if index == 0 else str(index)
        result.add_row(name, *(f"{curve.by_round[index]:.3f}" for curve in curves))
    result.add_section()
    result.add_row("alone", *(f"{curve.alone:.3f}" for curve in curves), style="dim")
    gains = (curve.by_round[-1] - curve.alone for curve in curves)
    result.add_row("gain by training together", *(f"{gain:+.3f}" for gain in gains), style="bold")
    return result


def _limits(curves: list[Curve]) -> tuple[float, float]:
    values = [value for curve in curves for value in (*curve.by_round[1:], curve.alone)]
    return min(values) - 0.01, max(values) + 0.01


def plot(curves: list[Curve]) -> Text:
    """The accuracy by round as characters; a dotted line marks what an organization reaches alone.

    The untrained round 0 stands in the table only: it would flatten all the others.
    """
    low, high = _limits(curves)
    span = high - low
    rounds = len(curves[0].by_round) - 1
    width = (rounds - 1) * STEP + 1
    cells = [[(" ", "")] * width for _ in range(HEIGHT)]

    def line_of(value: float) -> int:
        return round((high - value) / span * (HEIGHT - 1))

    for index, curve in enumerate(curves):
        colour = COLOURS[index % len(COLOURS)]
        for column in range(index % 2, width, 2):
            cells[line_of(curve.alone)][column] = ("·", colour)
    for index, curve in enumerate(curves):
        cell = (MARKS[index % len(MARKS)], COLOURS[index % len(COLOURS)])
        for number, value in enumerate(curve.by_round[1:]):
            column = number * STEP
            if cells[line_of(value)][column][0] in MARKS:  # two at the same place: side by side
                column += 1 if column + 1 < width else -1
            cells[line_of(value)][column] = cell
    text = Text()
    for number, line in enumerate(cells):
        label = high - span * number / (HEIGHT - 1)
        text.append(f"{label:6.3f} │ ")
        for character, style in line:
            text.append(character, style=style)
        text.append("\n")
    text.append("       └─" + "─" * width + "\n        ")
    text.append("".join(f" {number:<{STEP - 1}}" for number in range(1, rounds + 1)) + "round\n\n")
    for index, curve in enumerate(curves):
        text.append(f"  {MARKS[index % len(MARKS)]} {curve.name}", COLOURS[index % len(COLOURS)])
    text.append("   ···· alone\n")
    return text


def picture(curves: list[Curve], path: Path) -> Path:
    """The same as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rounds = range(1, len(curves[0].by_round))
    for index, curve in enumerate(curves):
        colour = HEX[index % len(HEX)]
        axes.plot(
            rounds, curve.by_round[1:], marker="o", color=colour, label=f"{curve.name}, together"
        )
        axes.axhline(curve.alone, linestyle=":", color=colour, label=f"{curve.name}, alone")
    axes.set_xticks(rounds)
    axes.set_xlabel("round")
    axes.set_ylabel("accuracy on its own test patients")
    axes.set_title("Two organizations, no shared data" if len(curves) == 2 else "No shared data")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path
