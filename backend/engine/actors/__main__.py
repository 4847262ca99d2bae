"""The control plane as a plain process: `python -m backend.engine.actors --settings FILE`."""

import argparse
import signal
import threading
from pathlib import Path

from backend.engine.actors.control import ControlPlane
from backend.monitoring.logs import configure
from backend.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the loops of one organization.")
    parser.add_argument("--settings", type=Path, required=True, help="JSON file of the settings")
    arguments = parser.parse_args()
    settings = Settings.read(arguments.settings)
    configure(settings.LOG_LEVEL, organization=settings.NAME, process="control")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    plane = ControlPlane(arguments.settings)
    plane.start()
    ended.wait()
    plane.stop()


if __name__ == "__main__":
    main()
