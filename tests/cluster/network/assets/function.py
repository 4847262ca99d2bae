"""Small functions that note when they began; the image's ENTRYPOINT names the one that it runs.

A model is a JSON file `{"value": number, "began": seconds, ...}`.
"""

import time

BEGAN = time.time()

import json  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
from pathlib import Path  # noqa: E402

import substratools as tools  # noqa: E402


def read(path):
    return json.loads(Path(path).read_text())


def write(path, **content):
    Path(path).write_text(json.dumps({**content, "began": BEGAN, "ended": time.time()}))


def numbers(inputs):
    return inputs.get("datasamples") or []


@tools.register
def add(inputs, outputs, task_properties):
    """Chain's link: the model before it (0 without) + all numbers of the data + 1."""
    print("the function's first line", flush=True)
    before = read(inputs["shared"])["value"] if "shared" in inputs else 0
    write(outputs["shared"], value=before + sum(numbers(inputs)) + 1)


@tools.register
def linger(inputs, outputs, task_properties):
    """A link that takes its time: `numbers` are seconds."""
    before = read(inputs["shared"])["value"] if "shared" in inputs else 0
    time.sleep(sum(numbers(inputs)))
    write(outputs["shared"], value=before + 1)


@tools.register
def aggregate(inputs, outputs, task_properties):
    """The sum of several models."""
    write(outputs["shared"], value=sum(read(path)["value"] for path in inputs["shared"]))


@tools.register
def evaluate(inputs, outputs, task_properties):
    """Two performances of one task."""
    tools.save_performance(read(inputs["shared"])["value"] / 100, outputs["score"])
    tools.save_performance(float(len(numbers(inputs))), outputs["count"])


@tools.register
def fail(inputs, outputs, task_properties):
    print("about to fail", flush=True)
    raise ValueError("told to fail")


def attempt(action):
    try:
        return f"got {action()!r}"[:200]
    except OSError as error:
        return f"refused: {type(error).__name__}"


def look(path):
    return sorted(map(str, Path(path).iterdir())) if path.endswith("/") else Path(path).read_bytes()


def connected(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.settimeout(3)
        made.connect(address)
        return "connected"


@tools.register
def snoop(inputs, outputs, task_properties):
    """What an honest function has no need of; the data hold paths, and (host, port) to connect to."""
    report = {}
    for wanted in numbers(inputs):
        if isinstance(wanted, str):
            report[wanted] = attempt(lambda path=wanted: look(path))
        else:
            address = tuple(wanted)
            report[str(wanted)] = attempt(lambda to=address: connected(socket.AF_INET, to))
    report["the agent"] = attempt(lambda: connected(socket.AF_UNIX, "/substra/socket/agent.sock"))
    report["write to the image"] = attempt(lambda: Path("/opt/functions/mark").write_text("x"))
    report["write to the inputs"] = attempt(lambda: Path("/substra/inputs/mark").write_text("x"))
    secrets = [name for name in os.environ if "TOKEN" in name or "KUBERNETES" in name]
    write(outputs["shared"], value=0, report=report, secrets=secrets, user=os.getuid())


if __name__ == "__main__":
    tools.execute()
