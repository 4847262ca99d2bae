"""Functions of the public substratools package, in every case of compute.md 12.6."""

import json
from typing import Any

import pytest

from .conftest import Network
from .test_runner import COLD, content

FUNCTION = """
import json
import substratools as tools

@tools.register
def train(inputs, outputs, task_properties):
    with open(outputs["model"], "w") as file:
        json.dump([inputs, task_properties, sorted(outputs)], file, default=str)

@tools.register
def evaluate(inputs, outputs, task_properties):
    tools.save_performance(float(len(inputs["datasamples"])), outputs["score"])

@tools.register
def nothing(inputs, outputs, task_properties):
    pass

@tools.register
def folder(inputs, outputs, task_properties):
    import os
    os.mkdir(outputs["model"])

@tools.register
def fails(inputs, outputs, task_properties):
    raise ValueError("mine")

if __name__ == "__main__":
    tools.execute()
"""
OPENER = """
import os
import substratools as tools

class Data(tools.Opener):
    def get_data(self, folders):
        if folders is None:
            return "no samples"
        return [open(os.path.join(folder, "data.txt")).read() for folder in folders]

    def fake_data(self, n_samples=None):
        return ["fake"] * n_samples
"""


def perform(network: Network, name: str, *flags: str, **changes: Any) -> dict[str, Any]:
    entry_point = ["python3", "function.py", "--function-name", name, *flags]
    environment = {"entrypoint": entry_point, **changes.pop("environment", {})}
    return network.perform(FUNCTION, environment=environment, **changes)


@pytest.mark.parametrize("environment", [{}, COLD], ids=["zygote", "cold"])
def test_opener_gets_samples_in_order(network: Network, environment: dict[str, Any]) -> None:
    network.start()
    samples = [network.sample("data.txt", text) for text in ("first", "second", "third")]
    inputs = [network.model(b"m"), network.opener(OPENER), *samples]
    inputs[0]["identifier"] = "models"
    inputs[0]["multiple"] = True
    result = perform(network, "train", inputs=inputs, environment=environment)
    given, properties, outputs = json.loads(content(result))
    assert given["datasamples"] == ["first", "second", "third"]
    assert properties == {"rank": 3}
    assert outputs == ["model"]
    (model,) = given["models"]
    assert model.endswith(inputs[0]["key"])


def test_opener_without_samples_is_given_none(network: Network) -> None:
    network.start()
    result = perform(network, "train", inputs=[network.opener(OPENER)])
    assert json.loads(content(result))[0]["datasamples"] == "no samples"


def test_samples_without_opener_are_not_given(network: Network) -> None:
    network.start()
    result = perform(network, "train", inputs=[network.sample("data.txt", "x")])
    assert "datasamples" not in json.loads(content(result))[0]


def test_fake_data_comes_from_the_opener(network: Network) -> None:
    network.start()
    flags = ("--fake-data", "--n-fake-samples", "2")
    result = perform(network, "train", *flags, inputs=[network.opener(OPENER)])
    assert json.loads(content(result))[0]["datasamples"] == ["fake", "fake"]


def test_performance_is_saved(network: Network) -> None:
    network.start()
    inputs = [network.opener(OPENER), network.sample("data.txt", "x")]
    result = perform(network, "evaluate", inputs=inputs, outputs=["score"])
    assert result["outputs"] == [{"identifier": "score", "kind": "ASSET_PERFORMANCE", "value": 1.0}]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("fails", "ValueError: mine"),
        ("nothing", "MissingFileError"),
        ("folder", "NotAFileError"),
        ("unknown", "FunctionNotFoundError"),
    ],
)
def test_failing_function_leaves_its_traceback(network: Network, name: str, complaint: str) -> None:
    network.start()
    result = perform(network, name)
    assert result["failure"] == {"category": "EXECUTION", "reason": "exit code 1"}
    log = network.log(result)
    assert "Traceback (most recent call last)" in log
    assert complaint in log
