"""The README's lines of Python work when pasted."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import RunningNetwork

README = Path(__file__).parents[2] / "README.md"


def test_readme_lines_work_when_pasted(network: RunningNetwork, tmp_path: Path) -> None:
    (lines,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.S)
    assert len(lines.splitlines()) <= 12
    (tmp_path / ".substra-ray").symlink_to(network.state)
    done = subprocess.run(
        [sys.executable, "-"],
        input=lines,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(README.parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "MyOrg1" in done.stdout
