"""The data: 569 tumours of the Wisconsin breast-cancer set, split unevenly between organizations.

Each row has 30 measurements of cell nuclei and the diagnosis. The first organization is a screening
centre: many patients, few of them ill. The others are clinics: few patients, most of them ill. What
each learns alone is therefore lopsided. The test patients of everybody are drawn from all.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_breast_cancer

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

TEST_SHARE = 0.3
BENIGN_SHARE = 0.9  # of the benign cases, what the screening centre has
MALIGNANT_SHARE = 0.2  # of the malignant ones


@dataclass(frozen=True)
class Tumours:
    """`x` (n, 30) raw measurements, `y` (n,) with 1 = malignant."""

    x: Array
    y: Labels

    def take(self, rows: Labels) -> "Tumours":
        return Tumours(self.x[rows], self.y[rows])

    def save(self, folder: Path) -> Path:
        """Write the folder that becomes one data sample."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "tumours.npz", x=self.x, y=self.y)
        return folder


@dataclass(frozen=True)
class Share:
    """What one organization holds. Nobody else ever sees it."""

    train: Tumours
    test: Tumours


def load() -> Tumours:
    """The whole set, as scikit-learn ships it (there 0 means malignant)."""
    raw = load_breast_cancer()
    return Tumours(np.asarray(raw.data, np.float64), 1 - np.asarray(raw.target, np.int64))


def published_range(tumours: Tumours) -> tuple[list[float], list[float]]:
    """Smallest and largest value of each measurement: the table in the data set's own description."""
    return tumours.x.min(axis=0).tolist(), tumours.x.max(axis=0).tolist()


def split(tumours: Tumours, organizations: int, seed: int = 0) -> list[Share]:
    """Deal the patients out: the screening centre first, then the clinics in equal parts."""
    rows = np.random.default_rng(seed).permutation(len(tumours.y))
    held_out = round(len(rows) * TEST_SHARE)
    tests, trains = rows[:held_out], rows[held_out:]
    benign, malignant = trains[tumours.y[trains] == 0], trains[tumours.y[trains] == 1]
    b, m = round(len(benign) * BENIGN_SHARE), round(len(malignant) * MALIGNANT_SHARE)
    clinics = max(organizations - 1, 1)
    groups = [np.concatenate([benign[:b], malignant[:m]])]
    groups += [
        np.concatenate(parts)
        for parts in zip(
            np.array_split(benign[b:], clinics), np.array_split(malignant[m:], clinics), strict=True
        )
    ]
    return [
        Share(train=tumours.take(group), test=tumours.take(test))
        for group, test in zip(
            groups[:organizations], np.array_split(tests, organizations), strict=True
        )
    ]
