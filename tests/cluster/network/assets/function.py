"""The functions of the end-to-end tests, whose models tell their times, and one that looks around in a pod.

A model is a JSON file `{"value": number, "began": seconds, "ended": seconds, ...}`.
"""

import time

BEGAN = time.time()

import json  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
from pathlib import Path  # noqa: E402

import functions  # noqa: E402
import substratools as tools  # noqa: E402


def write(path, **content):
    Path(path).write_text(json.dumps({**content, "began": BEGAN, "ended": time.time()}))


functions.write = write


def connected(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.settimeout(3)
        made.connect(address)
        return "connected"


@tools.register
def reach(inputs, outputs, task_properties):
    """What an honest function has no need of; the data hold paths, and (host, port) to connect to."""
    report = {}
    for wanted in functions.numbers(inputs):
        if isinstance(wanted, str):
            report[wanted] = functions.attempt(lambda path=wanted: functions.look(path))
        else:
            report[str(wanted)] = functions.attempt(
                lambda to=tuple(wanted): connected(socket.AF_INET, to)
            )
    for name, action in (
        ("the agent", lambda: connected(socket.AF_UNIX, "/substra/socket/agent.sock")),
        ("write to the image", lambda: Path("/opt/functions/mark").write_text("x")),
        ("write to the inputs", lambda: Path("/substra/inputs/mark").write_text("x")),
    ):
        report[name] = functions.attempt(action)
    secrets = [name for name in os.environ if "TOKEN" in name or "KUBERNETES" in name]
    write(outputs["shared"], value=0, report=report, secrets=secrets, user=os.getuid())


if __name__ == "__main__":
    tools.execute()
