"""The opener that each organization registers with its data: how a sample's files become arrays.

It is uploaded as it stands and runs beside the function, on the data owner's machine, with the
packages of the function's image. It knows nothing of this repository.
"""

from pathlib import Path
from typing import Any

import numpy as np
import substratools


class TumourOpener(substratools.Opener):  # type: ignore[misc]
    """Reads samples that hold one `tumours.npz`: `x` float64 (n, 30) and `y` int64 (n,), 1 = malignant."""

    def get_data(self, folders: list[str]) -> dict[str, Any]:
        """All samples of the task, one after the other, in the order given."""
        parts = [np.load(Path(folder) / "tumours.npz") for folder in folders]
        return {
            "x": np.concatenate([part["x"] for part in parts]),
            "y": np.concatenate([part["y"] for part in parts]),
        }

    def fake_data(self, n_samples: int | None = None) -> dict[str, Any]:
        """Noise of the right shape, for a dry run without any patient's data."""
        generator = np.random.default_rng(0)
        count = n_samples or 10
        return {"x": generator.gamma(2.0, 10.0, (count, 30)), "y": generator.integers(0, 2, count)}
