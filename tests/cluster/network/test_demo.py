"""The demo on the cluster: SubstraFL's federated averaging through the SDK, its images by Kaniko."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from network.demo import data
from network.demo.algorithm import AveragedLogisticRegression, accuracy
from network.demo.main import main
from tests.cluster.network.installed import Network, say

ROUNDS = 3


def averaged(shares: list[data.Share], rounds: int) -> list[list[float]]:
    """Accuracies by round of each share, when all of the training is computed here."""
    low, high = data.published_range(data.load())
    weights = AveragedLogisticRegression(low, high).weights
    patients = sum(len(share.train.y) for share in shares)
    scores: list[list[float]] = [[] for _ in shares]
    for _ in range(rounds + 1):
        moves = [np.zeros_like(part) for part in weights]
        for share, by_round in zip(shares, scores, strict=True):
            model = AveragedLogisticRegression(low, high)
            model.weights = weights
            test = vars(share.test)
            by_round.append(accuracy(test, model.predict(test)))
            model.fit(vars(share.train))
            part = len(share.train.y) / patients
            for move, new, old in zip(moves, model.weights, weights, strict=True):
                move += part * (new - old)
        weights = [old + move for old, move in zip(weights, moves, strict=True)]
    return scores


def test_federated_averaging_in_pods_gives_what_it_gives_elsewhere(
    network: Network, slim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    organizations = [
        {
            "name": organization.name,
            "url": network.address(organization.service),
            "username": organization.name,
            "password": organization.password,
        }
        for organization in network.organizations
    ]
    began = time.monotonic()
    code = main({"organizations": organizations}, json=True, output=tmp_path, rounds=ROUNDS)
    shown, took = capsys.readouterr(), time.monotonic() - began
    assert code == 0, shown.err
    result = json.loads(shown.out.strip().splitlines()[-1])
    with capsys.disabled():
        say(f"demo with {slim}: {result['tasks']} tasks DONE in {result['train_seconds']:.0f} s, "
            f"images in {result['build_seconds']:.0f} s, all of it {took:.0f} s")  # fmt: skip
    members = len(organizations)
    assert result["tasks"] == members * (1 + 2 * (ROUNDS + 1)) + ROUNDS
    shares = data.split(data.load(), members)
    expected = averaged(shares, ROUNDS)
    assert list(result["performances"].values()) == [pytest.approx(each) for each in expected]
    assert members == 1 or "403" in shown.err
