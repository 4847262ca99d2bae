"""What `doctor` finds: one fact, and what it means for a network."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "problem"]
Area = Literal["machine", "programs", "isolation", "network"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` says the fact, and for what is not ok also what it costs or the way out."""

    area: Area
    name: str
    verdict: Verdict
    text: str
