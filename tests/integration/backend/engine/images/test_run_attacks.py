"""RUN lines try what hostile functions try (docs/isolation.md): the same walls, but with the internet."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from backend.engine.images import processes
from backend.engine.images.embedded import BuildFailed
from backend.engine.images.watch import Watch
from network.doctor_walls import tried
from tests.attacks import ATTACKS, beyond, machine
from tests.integration.backend.engine.images.conftest import Workshop
from tests.integration.backend.engine.images.test_embedded import ENTRYPOINT, FROM


def test_a_run_line_is_refused_everything_but_the_internet(
    workshop: Workshop, tmp_path: Path
) -> None:
    with machine(tmp_path) as there:
        workshop.build_files(
            {
                "Dockerfile": f"{FROM}WORKDIR /x\nCOPY . .\nRUN python attacks.py{ENTRYPOINT}",
                "given.json": json.dumps(vars(there)),
                "attacks.py": ATTACKS,
                "function.py": "",
            }
        )
    (line,) = [line for line in workshop.log.splitlines() if "FOUND {" in line]
    found: dict[str, str] = json.loads(line.partition("FOUND ")[2])
    assert len(found) > 30
    done = {name for name, what in found.items() if not what.startswith("refused")}
    assert done <= beyond(tried(), network=True), found


def alive(word: str) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if word in (process.info["cmdline"] or [])
    ]


def failed(workshop: Workshop, code: str, word: str) -> str:
    """The reason why a build ends whose RUN line is this Python code; none of its processes is left."""
    dockerfile = f"{FROM}COPY code.py /\nRUN cd / && python code.py {word}{ENTRYPOINT}"
    with pytest.raises(BuildFailed) as caught:
        workshop.build_files({"Dockerfile": dockerfile, "code.py": code, "function.py": ""})
    assert alive(word) == []
    return caught.value.reason


def test_a_fork_bomb_in_a_run_line_ends_with_the_build(
    make_workshop: Callable[..., Workshop],
) -> None:
    bomb = (
        "import os, sys, time\n"
        "deadline = time.monotonic() + 30\n"
        "pid = os.fork()\n"
        "while time.monotonic() < deadline:\n"
        "    time.sleep(0.005)\n"
        "    if pid == 0 and os.fork(): os._exit(0)\n"
    )
    began = time.monotonic()
    assert "longer than 3 seconds" in failed(make_workshop(timeout_s=3), bomb, "bomb-4713")
    assert time.monotonic() - began < 20


# what a RUN line uses up -> the limit of this test, the code, the words in the log
LIMITS = {
    "processes": (
        {"most_processes": 20},
        "import os, time\nfor _ in range(40):\n    if os.fork() == 0: break\ntime.sleep(60)\n",
        "more than 20 processes",
    ),
    "memory": (
        {"most_memory": 200 << 20},
        "import os, time\nos.fork()\nhog = os.urandom(1 << 20) * 150\ntime.sleep(60)\n",
        "more than 200 MiB of memory",
    ),
    "disk": (
        {"free": lambda _folder: 1 << 20},
        "import time\nopen('filler', 'wb').write(bytes(1 << 20))\ntime.sleep(60)\n",
        "the disk is almost full",
    ),
    "files": (
        {"free_files": lambda _folder: 0.005},
        "import time\nfor n in range(99): open(f'file-{n}', 'w').close()\ntime.sleep(60)\n",
        "the disk can hold few more files",
    ),
}


@pytest.mark.parametrize(("limits", "code", "words"), LIMITS.values(), ids=list(LIMITS))
def test_a_run_line_that_uses_up_the_machine_ends(
    workshop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
    limits: dict[str, Any],
    code: str,
    words: str,
) -> None:
    monkeypatch.setattr(processes, "Watch", partial(Watch, **limits))
    assert "non-zero code: 137" in failed(workshop, code, "user-4714")
    assert f"The command was ended: {words}." in workshop.log
