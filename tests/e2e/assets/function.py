"""Small functions in one script; the image's ENTRYPOINT names the one that it runs.

A model is a JSON file `{"value": number, ...}`.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

import substratools as tools


def read(path):
    return json.loads(Path(path).read_text())


def write(path, **content):
    Path(path).write_text(json.dumps(content))


def numbers(inputs):
    return inputs.get("datasamples") or []


@tools.register
def add(inputs, outputs, task_properties):
    """Chain's link: the model before it (0 without) + all numbers of the data + 1."""
    before = read(inputs["shared"])["value"] if "shared" in inputs else 0
    write(
        outputs["shared"],
        value=before + sum(numbers(inputs)) + 1,
        rank=task_properties["rank"],
    )


@tools.register
def aggregate(inputs, outputs, task_properties):
    """The sum of several models, with their values in the order given."""
    values = [read(path)["value"] for path in inputs["shared"]]
    write(outputs["shared"], value=sum(values), values=values)


@tools.register
def evaluate(inputs, outputs, task_properties):
    """Two performances of one task."""
    tools.save_performance(read(inputs["shared"])["value"] / 100, outputs["score"])
    tools.save_performance(float(len(numbers(inputs))), outputs["count"])


@tools.register
def order(inputs, outputs, task_properties):
    """The data as the opener gave it."""
    write(outputs["shared"], value=0, numbers=numbers(inputs))


@tools.register
def fail(inputs, outputs, task_properties):
    sys.stdout.write("about to fail\n")
    raise ValueError("told to fail")


@tools.register
def linger(inputs, outputs, task_properties):
    """A link of a chain that takes its time: `numbers` are seconds."""
    before = read(inputs["shared"])["value"] if "shared" in inputs else 0
    time.sleep(sum(numbers(inputs)))
    write(outputs["shared"], value=before + 1)


@tools.register
def home(inputs, outputs, task_properties):
    """Writes where a function may write, and looks for what another task may have left there."""
    places = [Path.cwd(), Path(os.environ["HOME"]), Path(os.environ.get("TMPDIR", "/tmp"))]
    seen = [str(place) for place in places if (place / "mark").exists()]
    for place in places:
        (place / "mark").write_text("was here")
    write(outputs["shared"], value=len(places), seen=seen)


def attempt(action):
    try:
        return f"got {action()!r}"[:200]
    except OSError as error:
        return f"refused: {error.strerror or type(error).__name__}"


def look(path):
    return sorted(Path(path).iterdir()) if path.endswith("/") else Path(path).read_bytes()


def network_socket():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        return made.family


@tools.register
def snoop(inputs, outputs, task_properties):
    """Everything that an honest function has no need of; the data hold the paths to try."""
    report = {path: attempt(lambda path=path: look(path)) for path in numbers(inputs)}
    report["environment of the parent"] = attempt(
        lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes()
    )
    report["network"] = attempt(network_socket)
    secrets = [name for name in os.environ if "TOKEN" in name or "PASSWORD" in name]
    write(outputs["shared"], value=0, report=report, secrets=secrets)


if __name__ == "__main__":
    tools.execute()
