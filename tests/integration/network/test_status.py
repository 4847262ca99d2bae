"""`status` has a row for each loop that a control plane really runs (rule 45)."""

import json
from pathlib import Path

import psutil

from backend.engine.actors.control import ControlPlane
from network.report import Actor
from network.status import LOOPS, _actor_rows


class NoRunners:
    """A host that is never asked, for the pool is empty."""

    def find(self, name: str) -> None:
        raise AssertionError(name)

    start = find


def test_every_loop_has_a_row(prepared_url: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    settings = {
        "NAME": "org-1",
        "MSP_ID": "MyOrg1MSP",
        "CHANNELS": {"mychannel": {}},
        "SECRET_KEY": "k" * 50,
        "DATABASE_URL": prepared_url,
        "ORCHESTRATOR_HOST": "127.0.0.1",
        "ORCHESTRATOR_PORT": 1,
        "MEDIA_ROOT": str(tmp_path / "medias"),
        "RUN_FOLDER": str(tmp_path / "run"),
        "BUILDER_ENABLED": True,
        "WORKERS": 0,
    }
    path.write_text(json.dumps(settings))
    path.chmod(0o600)
    plane = ControlPlane(path, host=NoRunners())  # type: ignore[arg-type]
    plane.start()
    try:
        loops = set(plane.health()) - {"keeper"}  # it only renews the others' leases
    finally:
        plane.stop()
    assert loops == set(LOOPS)


def test_the_rows_of_a_control_actor_share_its_pid() -> None:
    own = psutil.Process().pid
    rows = _actor_rows(Actor("control-org-1", "Control", own))
    assert [(row.role, row.organization, row.pid, row.healthy) for row in rows] == [
        (loop, "org-1", own, True) for loop in LOOPS
    ]
