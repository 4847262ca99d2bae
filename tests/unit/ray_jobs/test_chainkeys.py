"""Chainkeys: a task sees its plan's, may change its own copy, and only a success gives it back."""

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Network

READS = """
import json, os, sys
words = open(sys.argv[-1][1:]).read().split("\\n")
given = {words[i]: words[i + 1] for i in range(0, len(words) - 1, 2)}
inputs = json.loads(given["--inputs"])
folder = inputs[-1]["value"]
assert inputs[-1]["id"] == "chainkeys" and inputs[-1]["multiple"] is False
path = os.path.join(folder, "chainkeys.json")
keys = json.load(open(path))["chain_keys"]
print("index", os.environ["ORGANIZATION_INDEX"], "keys", keys, flush=True)
CHANGE
for output in json.loads(given["--outputs"]):
    json.dump(keys, open(output["value"], "w"))
"""
CHANGES = 'json.dump({"chain_keys": {"2": [9, 9]}}, open(path, "w"))'


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "chainkeys" / "plan"
    folder.mkdir(parents=True)
    (folder / "chainkeys.json").write_text('{"chain_keys": {"2": [1, 2, 3]}}')
    return folder


def perform(network: Network, keys: Path, change: str = CHANGES) -> dict[str, Any]:
    variables = {"ORGANIZATION_INDEX": "1"}
    code = READS.replace("CHANGE", change)
    return network.perform(code, chainkeys=str(keys), variables=variables)


def test_a_task_sees_its_plans_chainkeys_and_gives_back_what_it_made_of_them(
    network: Network, keys: Path
) -> None:
    network.start()
    result = perform(network, keys)
    assert result["exit"] == 0, network.log(result)
    assert "index 1 keys {'2': [1, 2, 3]}" in network.log(result)
    back = Path(result["chainkeys"])
    assert back.is_relative_to(network.media / "outbox" / result["task"] / result["lock_token"])
    assert json.loads((back / "chainkeys.json").read_text()) == {"chain_keys": {"2": [9, 9]}}
    assert "1, 2, 3" in (keys / "chainkeys.json").read_text(), "the plan's own are as they were"


def test_a_task_that_fails_gives_nothing_back(network: Network, keys: Path) -> None:
    network.start()
    result = perform(network, keys, CHANGES + "\nraise SystemExit(3)")
    assert result["exit"] == 3
    assert "chainkeys" not in result


@pytest.mark.parametrize(
    "change",
    [
        "os.symlink('/etc/passwd', os.path.join(folder, 'link'))",
        "os.mkfifo(os.path.join(folder, 'pipe'))",
        "os.mkdir(os.path.join(folder, 'below'))",
        "open(path, 'w').write(' ' * (1 << 21))",
        "[open(os.path.join(folder, str(i)), 'w').close() for i in range(200)]",
        "os.remove(path); os.rmdir(folder); os.symlink('/', folder)",
    ],
)
def test_whatever_a_function_puts_there_only_small_regular_files_come_back(
    network: Network, keys: Path, change: str
) -> None:
    network.start()
    result = perform(network, keys, change)
    assert result["failure"]["category"] == "EXECUTION"
    assert "chainkeys" not in result
    assert "chainkeys" in network.log(result)
