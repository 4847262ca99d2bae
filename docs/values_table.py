"""The page of the charts' values, docs/values.md, from their values.yaml and the comments in it.

`python docs/values_table.py` prints it (`make values` writes it); a test compares.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHARTS = {
    "substra-orchestrator": "The ledger, once for a network.",
    "substra-backend": "Once for each organization.",
}
HEAD = """# Values of the charts

Made by `make values` from the charts' own `values.yaml`; their schemas refuse what is not named here.
Names that Substra 1.0's chart had have kept their meaning;
[migration](migration.md#values) translates the others.
"""
LINE = re.compile(r"^( *)([A-Za-z]\w*):(?: +(.*?))?$")


@dataclass(frozen=True)
class Value:
    name: str
    default: str  # empty: a group of others
    says: str


def values(text: str) -> Iterator[Value]:
    """Each value and each group that says something, in their order."""
    before: list[str] = []
    path: list[tuple[int, str]] = []
    lines = [line.rstrip() for line in text.splitlines()]
    for number, line in enumerate(lines):
        stripped = line.strip()
        if not stripped:
            before = []
        elif stripped.startswith("#"):
            if not stripped.startswith("#  "):  # an example
                before.append(stripped[1:].strip())
        elif match := LINE.match(line):
            indent = len(match[1])
            path = [step for step in path if step[0] < indent]
            path.append((indent, match[2]))
            default, said = _parts(match[3] or "")
            if (
                not default
                and number + 1 < len(lines)
                and lines[number + 1].strip().startswith("- ")
            ):
                default = " ".join(_items(lines[number + 1 :]))
            says = " ".join([*before, said]).strip()
            before = []
            if default or says:
                yield Value(".".join(name for _, name in path), default, says)


def _parts(rest: str) -> tuple[str, str]:
    """The default, and the comment behind it."""
    if rest.startswith("#"):
        return "", rest[1:].strip()
    default, _, said = rest.partition("  #")
    return default.strip(), said.strip()


def _items(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.strip().startswith("- "):
            return
        yield line.strip()


def page() -> str:
    parts = [HEAD]
    for chart, says in CHARTS.items():
        text = (ROOT / "helm" / chart / "values.yaml").read_text("utf-8")
        parts.append(f"## {chart}\n\n{says}\n\n| value | default | meaning |\n|---|---|---|")
        for value in values(text):
            default = f"`{value.default}`" if value.default else ""
            cells = (f"`{value.name}`", default, value.says)
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
