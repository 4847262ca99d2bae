"""The supervisor: one process that starts the others, restarts what dies, and ends all (rule 19).

`python -m network.supervisor --state FOLDER`. SIGTERM and SIGINT end the network, SIGHUP reads the state
again (a new organization). What it knows stands in processes.json, replaced at every change.
"""

import argparse
import fcntl
import json
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

from backend.monitoring.logs import configure
from network.children import Child, Part, rotate
from network.layout import Layout
from network.parts import parts_of
from network.private_files import write_private
from network.processes import MARK, ProcessId, adopt_orphans, descendants, end, reap_orphans
from network.ray_watch import RayWatch
from network.state import State

log = structlog.get_logger(__name__)
TICK_S = 0.1
HOUSEKEEPING_S = 1.0
ROTATION_S = 10.0
STOP_ORDER = (
    ("front-door", "frontend"),
    ("ray-deploy", "engine", "ray-head", "api"),
    ("orchestrator",),
    ("postgres",),
)


class Supervisor:
    """All of one network. `run` returns when it was told to stop and everything is gone."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._children: dict[str, Child] = {}
        self._stopping = threading.Event()
        self._reload = threading.Event()
        self._phase = "starting"
        self._written = ""
        self._watch: RayWatch | None = None

    def run(self) -> None:
        adopt_orphans()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        self._reload.set()
        threading.Thread(target=self._check_all, name="checks", daemon=True).start()
        housekeeping = rotation = 0.0
        try:
            while not self._stopping.is_set():
                self._turn()
                now = time.monotonic()
                if now - housekeeping > HOUSEKEEPING_S:
                    housekeeping = now
                    reap_orphans({child.pid for child in self._children.values() if child.pid})
                if now - rotation > ROTATION_S:
                    rotation = now
                    self._rotate_logs()
                self._stopping.wait(TICK_S)
        finally:
            self._stop_all()

    # ------------------------------------------------------------------ signals
    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        self._reload.set()

    # ------------------------------------------------------------------ one turn
    def _turn(self) -> None:
        if self._reload.is_set():
            self._reload.clear()
            self._read_state()
        for child in list(self._children.values()):
            if child.poll() and child.part.role == "ray-head":
                self._deploy_again()
            if child.due() and self._may_start(child):
                child.start()
        if self._watch is not None and self._watch.missing():
            self._deploy_again()
        everything = all(child.healthy for child in self._children.values())
        if everything and self._phase == "starting":
            self._phase = "running"
            log.info("running")
        self._write()

    def _may_start(self, child: Child) -> bool:
        needs = [self._children[name] for name in child.part.after if name in self._children]
        return all(need.healthy for need in needs)

    def _read_state(self) -> None:
        """Make the children follow the state: new parts start, changed ones are replaced, others go."""
        state = State.load(self._layout)
        if state is None:
            raise RuntimeError(f"no state in {self._layout.state}")
        parts = {part.name: part for part in parts_of(self._layout, state)}
        for name in [name for name in self._children if name not in parts]:
            self._children.pop(name).stop()
        for name, part in parts.items():
            known = self._children.get(name)
            if known is None:
                self._children[name] = Child(part, self._layout.logs)
            elif known.part.fingerprint != part.fingerprint:
                self._replace(known, part)
        if not state.plain:
            self._watch = self._watch or RayWatch(self._layout, state)
            self._watch.organizations = tuple(state.names)
        self._phase = "starting"

    def _replace(self, known: Child, part: Part) -> None:
        log.info("replaced", part=part.name)
        known.stop()
        self._children[part.name] = Child(part, self._layout.logs)

    def _deploy_again(self) -> None:
        """After the head's death, or when an actor stays away; a driver of a dead cluster would hang."""
        deploy = self._children.get("ray-deploy")
        if deploy is not None and (deploy.done or deploy.running):
            log.info("deploy_again")
            deploy.stop()
            deploy.again()
        if self._watch is not None:
            self._watch.forget()

    # ------------------------------------------------------------------ the thread of the checks
    def _check_all(self) -> None:
        while not self._stopping.is_set():
            for child in list(self._children.values()):
                child.check()
            if self._watch is not None and self._deployed():
                self._watch.look()
            self._stopping.wait(0.2 if self._phase == "starting" else HOUSEKEEPING_S)

    def _deployed(self) -> bool:
        deploy = self._children.get("ray-deploy")
        return deploy is not None and deploy.done

    # ------------------------------------------------------------------ what others may know
    def _write(self) -> None:
        text = json.dumps(self._report(), indent=1)
        if text != self._written:
            write_private(self._layout.processes_file, text, durable=False)
            self._written = text

    def _report(self) -> dict[str, Any]:
        own = ProcessId.of(os.getpid())
        rows = [_row(child) for child in self._children.values()]
        actors = [] if self._watch is None else self._watch.rows()
        return {
            "phase": self._phase,
            "supervisor": None if own is None else [own.pid, own.started],
            "processes": rows,
            "actors": actors,
        }

    def _rotate_logs(self) -> None:
        for child in self._children.values():
            child.rotate_log()
        own = self._layout.logs / "supervisor.log"
        if own.exists() and own.stat().st_size > 10 * 1024**2:
            rotate(own)

    # ------------------------------------------------------------------ the end
    def _stop_all(self) -> None:
        self._stopping.set()
        self._phase = "stopping"
        self._write()
        log.info("stopping")
        for roles in STOP_ORDER:
            group = [child for child in self._children.values() if child.part.role in roles]
            asked = [(child, child.ask_to_stop()) for child in group]
            for child, tree in asked:
                child.finish_stop(tree)
        for _ in range(5):
            left = descendants(os.getpid())
            if not left:
                break
            end(left, grace_s=1)
            reap_orphans(set())
        self._layout.processes_file.unlink(missing_ok=True)
        log.info("stopped")


def _row(child: Child) -> dict[str, Any]:
    process = child.process
    return {
        "name": child.part.name,
        "role": child.part.role,
        "organization": child.part.organization,
        "pid": None if process is None else process.pid,
        "started": None if process is None else process.started,
        "healthy": child.healthy,
        "done": child.done,
        "restarts": child.restarts,
        "last_exit": child.last_exit,
    }


def hold(layout: Layout) -> int | None:
    """Take the lock that a living supervisor holds; the descriptor, or None when one lives already."""
    descriptor = os.open(layout.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def run(layout: Layout) -> None:
    """Be the supervisor of this network until told to stop."""
    lock = hold(layout)
    if lock is None:
        raise SystemExit("another supervisor keeps this network already")
    os.environ[MARK] = layout.identity
    try:
        Supervisor(layout).run()
    finally:
        os.close(lock)


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep one network up.")
    parser.add_argument("--state", type=Path, required=True)
    arguments = parser.parse_args()
    configure(process="supervisor")
    run(Layout.at(arguments.state))


if __name__ == "__main__":
    main()
