"""The algorithm: a scikit-learn classifier that can be averaged, and how discreetly that is done.

SubstraFL pickles this class, ships it inside the function's image and calls `train` and `predict`
where the data is. Between two tasks the object does not exist: what it must remember goes through
`save_local_state` and `load_local_state`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import SGDClassifier
from substrafl.algorithms.algo import Algo
from substrafl.remote import remote_data
from substrafl.strategies import FedAvg
from substrafl.strategies.schemas import FedAvgAveragedState, FedAvgSharedState, StrategyName

EPOCHS = 10  # passes over the organization's own patients in each round


class AveragedLogisticRegression(Algo):  # type: ignore[misc]
    """Logistic regression by stochastic gradient descent, whose weights are the federated state."""

    def __init__(self, low: list[float], high: list[float], seed: int = 0) -> None:
        """`low` and `high`: the known range of each measurement, so that nobody shares statistics."""
        super().__init__(low=low, high=high, seed=seed)
        self._low, self._high = np.log1p(low), np.log1p(high)
        self._classifier = SGDClassifier(
            loss="log_loss", alpha=1e-4, learning_rate="constant", eta0=0.01, random_state=seed
        )
        # One pass over nothing gives the classifier its shape; then the weights start from zero.
        self._classifier.partial_fit(np.zeros((2, len(low))), [0, 1], classes=[0, 1])
        self.weights = [
            np.zeros_like(self._classifier.coef_),
            np.zeros_like(self._classifier.intercept_),
        ]

    @property
    def strategies(self) -> list[StrategyName]:
        return [StrategyName.FEDERATED_AVERAGING]

    @property
    def model(self) -> SGDClassifier:
        return self._classifier

    @property
    def weights(self) -> list[Any]:
        """Copies of coefficients (1, n) and intercept (1,)."""
        return [self._classifier.coef_.copy(), self._classifier.intercept_.copy()]

    @weights.setter
    def weights(self, weights: list[Any]) -> None:
        self._classifier.coef_, self._classifier.intercept_ = (np.array(w) for w in weights)

    def features(self, x: Any) -> Any:
        """Raw measurements to about -2..2."""
        return 4 * (np.log1p(x) - self._low) / (self._high - self._low) - 2

    def fit(self, data: dict[str, Any], epochs: int = EPOCHS) -> None:
        """Plain local training: also what an organization would do alone."""
        x, y = self.features(data["x"]), data["y"]
        for epoch in range(epochs):
            order = np.random.default_rng(epoch).permutation(len(y))
            self._classifier.partial_fit(x[order], y[order])

    @remote_data  # type: ignore[untyped-decorator]
    def train(
        self, data_from_opener: dict[str, Any], shared_state: FedAvgAveragedState | None = None
    ) -> FedAvgSharedState:
        """Step to the common average, train from there, and share only the difference."""
        if shared_state is not None:
            moves = shared_state.avg_parameters_update
            self.weights = [w + move for w, move in zip(self.weights, moves, strict=True)]
        start = self.weights
        self.fit(data_from_opener)
        update = [new - old for new, old in zip(self.weights, start, strict=True)]
        self.weights = start  # the next average starts from the same point everywhere
        return FedAvgSharedState(n_samples=len(data_from_opener["y"]), parameters_update=update)

    def predict(self, data_from_opener: dict[str, Any], shared_state: Any = None) -> Any:
        """0 or 1 for each patient."""
        return self._classifier.predict(self.features(data_from_opener["x"]))

    def save_local_state(self, path: Path) -> None:
        with Path(path).open("wb") as file:
            np.savez(file, coefficients=self.weights[0], intercept=self.weights[1])

    def load_local_state(self, path: Path) -> "AveragedLogisticRegression":
        with np.load(path) as state:
            self.weights = [state["coefficients"], state["intercept"]]
        return self


class DiscreetFedAvg(FedAvg):  # type: ignore[misc]
    """Federated averaging in which nobody reads more than it must.

    SubstraFL lets every organization that tests read every model. Here each tests its own, so a local
    model is for its organization alone, and an update for its organization and the averaging.
    """

    def initialization_round(self, **options: Any) -> None:
        super().initialization_round(**{**options, "additional_orgs_permissions": set()})

    def perform_round(self, **options: Any) -> None:
        super().perform_round(**{**options, "additional_orgs_permissions": set()})


def accuracy(data_from_opener: dict[str, Any], predictions: Any) -> float:
    """The share of patients whose diagnosis is right: the metric, computed where the data is."""
    return float(np.mean(data_from_opener["y"] == predictions))
