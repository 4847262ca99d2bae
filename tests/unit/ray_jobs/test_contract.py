"""compute.md 12, what a function may count on, as tables: surroundings, files, flags, resources, cases.

The functions are the public substratools package's, so that the flags are its own.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Network
from .test_runner import COLD, content
from .test_substratools import OPENER

FUNCTION = """
import json, os, sys
import substratools as tools

def write(outputs, value, name="model"):
    with open(outputs[name], "w") as file:
        json.dump(value, file, default=str)

@tools.register
def tell(inputs, outputs, task_properties):
    write(outputs, {
        "inputs": inputs, "outputs": outputs, "properties": task_properties, "argv": sys.argv,
        "cwd": os.getcwd(), "here": sorted(os.listdir(".")), "uid": os.getuid(), "path": sys.path[0],
        "environment": dict(os.environ), "stdin": sys.stdin.read(), "unbuffered": sys.stdout.write_through,
    })

@tools.register
def evaluate(inputs, outputs, task_properties):
    value = float(os.environ["VALUE"])
    tools.save_performance(value, outputs["score"])
    assert str(tools.load_performance(outputs["score"])) == str(value)
    write(outputs, value)

@tools.register
def several(inputs, outputs, task_properties):
    for name in outputs:
        write(outputs, name, name)

@tools.register
def raises(inputs, outputs, task_properties):
    raise ValueError("mine")

@tools.register
def nothing(inputs, outputs, task_properties):
    pass

@tools.register
def folder(inputs, outputs, task_properties):
    os.mkdir(outputs["model"])

def renamed(inputs, outputs, task_properties):
    write(outputs, "by its own name")

tools.register(renamed, "another name")

if __name__ == "__main__":
    tools.execute()
"""
START = pytest.mark.parametrize("environment", [{}, COLD], ids=["zygote", "cold"])


def perform(network: Network, *flags: str, **changes: Any) -> dict[str, Any]:
    """Run with these words after the script's name."""
    words = ["python3", "function.py", *flags]
    environment = {**changes.pop("environment", {}), "entrypoint": words}
    return network.perform(FUNCTION, environment=environment, **changes)


def told(result: dict[str, Any]) -> dict[str, Any]:
    """What the function `tell` wrote."""
    assert result["failure"] is None, Path(result["log"]).read_text()
    value: dict[str, Any] = json.loads(content(result))
    return value


# ---------------------------------------------------------------- 12.1 to 12.3
@START
def test_surroundings(network: Network, environment: dict[str, Any]) -> None:
    network.start()
    samples = [network.sample("data.txt", text) for text in ("b", "a")]
    inputs = [network.model(b"weights"), network.opener(OPENER), *samples]
    result = perform(network, "--function-name", "tell", inputs=inputs, environment=environment)
    found = told(result)
    variables, arguments = found["environment"], found["argv"][-1]
    expected = {
        "the arguments file is the last word": arguments.startswith("@/")
        and arguments.endswith("/arguments.txt"),
        "the working folder is the image's": found["cwd"].endswith("/home/user"),
        "the script's folder comes first in the import path": found["path"] == found["cwd"],
        "standard input is empty": found["stdin"] == "",
        "output is unbuffered": found["unbuffered"],
        "HOME is there": Path(variables["HOME"]).name == "user",
        "variables of the image are there": variables["VIRTUAL_ENV"].endswith("/home/user/venv")
        if "VIRTUAL_ENV" in variables
        else environment != {},
        "no other variables than PATH, LANG and ours": set(variables)
        <= {
            *("PATH", "LANG", "HOME", "TMPDIR", "USER", "LOGNAME", "VIRTUAL_ENV", "VALUE"),
            *("PYTHONHASHSEED", "LC_CTYPE"),
        },
        "the user is 1001 behind the mount wall, and never another one's": found["uid"]
        in (1001, Path("/proc/self").stat().st_uid),
        "model/ and chainkeys/ can be made by substratools": {"model", "chainkeys"}
        <= set(found["here"]),
        "a model is a file with its key's name": found["inputs"]["shared"].endswith(
            f"/in_models/{inputs[0]['key']}"
        ),
        "an output is named by its identifier": found["outputs"]["model"].endswith("/model.model"),
        "samples come in the order given": found["inputs"]["datasamples"] == ["b", "a"],
    }
    assert {what for what, holds in expected.items() if not holds} == set()


# ---------------------------------------------------------------- 12.4
FLAGS: list[tuple[str, list[str], int, str]] = [
    ("--function-name", ["--function-name", "tell"], 0, ""),
    ("--function-name of register", ["--function-name", "another name"], 0, ""),
    ("--function-name missing", [], 1, "FunctionNotFoundError"),
    ("--function-name unknown", ["--function-name", "x"], 1, "FunctionNotFoundError"),
    ("--function-name without value", ["--function-name"], 2, "expected one argument"),
    ("-r before the file", ["--function-name", "tell", "-r", '{"rank": 99}'], 0, ""),
    ("--task-properties", ["--function-name", "tell", "--task-properties", "{}"], 0, ""),
    ("-d", ["--function-name", "tell", "-d", "--n-fake-samples", "1"], 0, "fake data"),
    ("--fake-data", ["--function-name", "tell", "--fake-data", "--n-fake-samples", "2"], 0, ""),
    ("--fake-data without a number", ["--function-name", "tell", "-d"], 1, "TypeError"),
    ("--n-fake-samples alone", ["--function-name", "tell", "--n-fake-samples", "3"], 0, ""),
    ("--n-fake-samples no number", ["--n-fake-samples", "x"], 2, "invalid int value"),
    ("--log-path", ["--function-name", "tell", "--log-path", "own.log"], 0, "Launching task"),
    ("--log-level debug", ["--function-name", "tell", "--log-level", "debug"], 0, "Launching task"),
    ("--log-level info", ["--function-name", "tell", "--log-level", "info"], 0, "Launching task"),
    ("--log-level warning", ["--function-name", "tell", "--log-level", "warning"], 0, ""),
    ("--log-level error", ["--function-name", "tell", "--log-level", "error"], 0, ""),
    ("--log-level critical", ["--function-name", "tell", "--log-level", "critical"], 0, ""),
    ("--log-level unknown", ["--log-level", "loud"], 2, "invalid choice"),
    ("--inputs of the entry point", ["--function-name", "tell", "--inputs", "[]"], 0, ""),
    ("--outputs of the entry point", ["--function-name", "tell", "--outputs", "[]"], 0, ""),
    ("-h", ["-h"], 0, "usage: "),
    ("an unknown flag", ["--what"], 2, "unrecognized arguments"),
]


@pytest.mark.parametrize(
    ("flags", "code", "log"), [f[1:] for f in FLAGS], ids=[f[0] for f in FLAGS]
)
def test_flags(network: Network, flags: list[str], code: int, log: str) -> None:
    network.start()
    inputs = [network.opener(OPENER), network.sample("data.txt", "x")]
    outputs = [] if flags == ["-h"] else ["model"]
    result = perform(network, *flags, inputs=inputs, outputs=outputs)
    text = network.log(result)
    assert result["exit"] == code, text
    assert log in text
    if log == "" and "info" not in flags and code == 0 and "--log-level" in flags:
        assert "Launching task" not in text


def test_the_file_wins_over_flags_of_the_entry_point(network: Network) -> None:
    network.start()
    result = perform(network, "--function-name", "tell", "-r", '{"rank": 99}')
    assert told(result)["properties"] == {"rank": 3}


# ---------------------------------------------------------------- 12.5
def model(network: Network, identifier: str, text: str, multiple: bool) -> dict[str, Any]:
    return {
        **network.model(text.encode()),
        "identifier": identifier,
        "multiple": multiple,
    }


def test_resources(network: Network) -> None:
    network.start()
    inputs = [
        model(network, "many", "1", True),
        model(network, "one", "2", False),
        model(network, "many", "3", True),
        model(network, "größe", "4", False),
        network.opener(OPENER),
    ]
    found = told(perform(network, "--function-name", "tell", inputs=inputs))["inputs"]
    keys = [entry["key"] for entry in inputs]
    names = {
        identifier: [Path(p).name for p in (value if isinstance(value, list) else [value])]
        for identifier, value in found.items()
        if identifier != "datasamples"
    }
    assert names == {"many": [keys[0], keys[2]], "one": [keys[1]], "größe": [keys[3]]}
    assert isinstance(found["many"], list)
    assert isinstance(found["one"], str)


def test_an_identifier_that_repeats_without_multiple_is_refused(network: Network) -> None:
    network.start()
    inputs = [model(network, "one", "1", False), model(network, "one", "2", False)]
    result = perform(network, "--function-name", "tell", inputs=inputs)
    assert result["failure"]["category"] == "EXECUTION"
    assert "InvalidInputOutputsError" in network.log(result)


# ---------------------------------------------------------------- 12.6
CASES: list[tuple[str, str, list[str], str, int, Any]] = [
    # case, function, flags, (opener, samples), exit, datasamples or the log's words
    ("opener and samples", "tell", [], "os", 0, ["first", "second"]),
    ("opener, no samples", "tell", [], "o", 0, "no samples"),
    ("samples, no opener", "tell", [], "s", 0, None),
    ("neither", "tell", [], "", 0, None),
    ("--fake-data with opener", "tell", ["-d", "--n-fake-samples", "2"], "os", 0, ["fake"] * 2),
    ("function raises", "raises", [], "os", 1, "ValueError: mine"),
    ("output not written", "nothing", [], "os", 1, "MissingFileError"),
    ("output is a folder", "folder", [], "os", 1, "NotAFileError"),
]


@START
@pytest.mark.parametrize(
    ("name", "flags", "given", "code", "expected"),
    [c[1:] for c in CASES],
    ids=[c[0] for c in CASES],
)
def test_cases(
    network: Network,
    environment: dict[str, Any],
    name: str,
    flags: list[str],
    given: str,
    code: int,
    expected: Any,
) -> None:
    network.start()
    inputs = [network.opener(OPENER)] if "o" in given else []
    if "s" in given:
        inputs += [network.sample("data.txt", text) for text in ("first", "second")]
    result = perform(
        network, "--function-name", name, *flags, inputs=inputs, environment=environment
    )
    assert result["exit"] == code, network.log(result)
    if code:
        assert result["failure"] == {"category": "EXECUTION", "reason": "exit code 1"}
        assert "Traceback (most recent call last)" in network.log(result)
        assert expected in network.log(result)
    else:
        assert told(result)["inputs"].get("datasamples") == expected


def evaluate(network: Network, value: str) -> dict[str, Any]:
    return perform(
        network,
        *("--function-name", "evaluate"),
        outputs=["score", "model"],
        environment={"env": {**COLD["env"], "VALUE": value}},
    )


@pytest.mark.parametrize("value", ["0.5", "nan", "3e38", "-3"])
def test_performances(network: Network, value: str) -> None:
    network.start()
    result = evaluate(network, value)
    assert result["failure"] is None, network.log(result)
    score = next(o for o in result["outputs"] if o["identifier"] == "score")
    assert float(score["value"]) == float(value) or (value == "nan" and score["value"] == "NaN")


@pytest.mark.parametrize("value", ["inf", "-inf", "1e39"])
def test_a_performance_that_no_ledger_can_hold_is_the_functions_fault(
    network: Network, value: str
) -> None:
    network.start()
    result = evaluate(network, value)
    assert result["failure"]["category"] == "EXECUTION"
    assert f"output 'score' is too large for a performance: {float(value)}" in network.log(result)


def test_several_models_of_one_task(network: Network) -> None:
    network.start()
    names = ["local", "shared", "third"]
    result = perform(network, "--function-name", "several", outputs=names)
    assert [json.loads(content(result, n)) for n in range(3)] == names
    assert [output["identifier"] for output in result["outputs"]] == names


# ---------------------------------------------------------------- 12.7
OPENERS = [
    ("two openers", OPENER + "class Second(Data): pass\n", "InvalidInterfaceError"),
    ("none", "x = 1\n", "Error"),
    ("broken", "def\n", "SyntaxError"),
    ("imports what the image lacks", "import no_such_package\n", "ModuleNotFoundError"),
]


@pytest.mark.parametrize(
    ("code", "complaint"), [o[1:] for o in OPENERS], ids=[o[0] for o in OPENERS]
)
def test_openers_that_cannot_be_used(network: Network, code: str, complaint: str) -> None:
    network.start()
    result = perform(network, "--function-name", "tell", inputs=[network.opener(code)])
    assert result["exit"] == 1
    assert complaint in network.log(result)


def test_an_opener_is_not_in_the_module_table_and_sees_the_images_packages(
    network: Network,
) -> None:
    network.start()
    code = OPENER.replace(
        "import os\n", "import os, sys, heavy\nassert 'opener' not in sys.modules\n"
    )
    result = perform(
        network,
        "--function-name",
        "tell",
        inputs=[network.opener(code), network.sample("data.txt", "x")],
    )
    assert told(result)["inputs"]["datasamples"] == ["x"]
