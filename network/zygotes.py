"""The living zygotes of an organization, read from the files that its runners keep (ray_jobs/zygotes.py).

They have an environment of their own and so carry no mark, and they outlive the runner that started them.
"""

import contextlib
import json
from pathlib import Path

from network.processes import ProcessId


def living(run_folder: Path) -> list[ProcessId]:
    """Zygotes named in `<run folder>/z/*.json` that still run."""
    found = []
    for file in sorted((run_folder / "z").glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(file.read_text("utf-8"))
            process = ProcessId(int(content["pid"]), float(content["start"]))
            if process.alive():
                found.append(process)
    return found
