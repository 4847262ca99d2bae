"""The control plane as a plain process: `python -m backend.engine.actors --settings FILE`."""

import argparse
import json
import signal
import threading
from pathlib import Path

from backend.engine.actors.control import ControlPlane
from backend.monitoring.logs import configure
from backend.settings import Settings

PULSE_S = 5.0


def beat(pulse: Path, health: dict[str, bool]) -> None:
    """Write a sign of life, whole or not at all: the loops' health for people, the file's age for probes.

    An unhealthy loop is no reason to restart the others: each is started again by itself, and one that
    waits for the ledger or the database goes on when it is back.
    """
    new = pulse.with_name(f"{pulse.name}.new")
    new.write_text(json.dumps(health) + "\n", "utf-8")
    new.replace(pulse)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the loops of one organization.")
    parser.add_argument("--settings", type=Path, required=True, help="JSON file of the settings")
    parser.add_argument("--pulse", type=Path, help="file written every 5 s while the process lives")
    arguments = parser.parse_args()
    settings = Settings.read(arguments.settings)
    configure(settings.LOG_LEVEL, organization=settings.NAME, process="control")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    plane = ControlPlane(arguments.settings)
    plane.start()
    while arguments.pulse is not None and not ended.is_set():
        beat(arguments.pulse, plane.health())
        ended.wait(PULSE_S)
    ended.wait()
    plane.stop()


if __name__ == "__main__":
    main()
