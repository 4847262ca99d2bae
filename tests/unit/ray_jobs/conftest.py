"""A runner on a fake API, and images of small environments with a real virtual environment each."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ray_jobs.runner import Runner

from .api import TOKEN, Api, wait_for


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment's read-only tree: a virtual environment with substratools and a small package."""
    root = tmp_path_factory.mktemp("environment")
    venv = root / "home/user/venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    spec = importlib.util.find_spec("substratools")
    assert spec is not None
    assert spec.origin is not None
    shutil.copytree(Path(spec.origin).parent, site / "substratools")
    (site / "heavy").mkdir()
    (site / "heavy/__init__.py").write_text("from heavy import part\n")
    (site / "heavy/part.py").write_text("import os\nLOADED_BY = os.getpid()\n")
    (root / "home/user/shipped.txt").write_text("from the environment")
    return root


@dataclass
class Network:
    """One organization's folders, its fake API, and leases in the making."""

    folder: Path
    packages: Path
    api: Api = field(default_factory=Api)
    runners: list[tuple[Runner, threading.Thread]] = field(default_factory=list)

    @property
    def run_folder(self) -> Path:
        return self.folder / "run"

    @property
    def media(self) -> Path:
        return self.folder / "media"

    def session(self, **changes: Any) -> Path:
        content = {
            "session": str(uuid.uuid4()),
            "token": TOKEN,
            "url": self.api.url,
            "run_folder": str(self.run_folder),
            "outbox": str(self.media / "outbox"),
            "organization": "org-1",
            "cpus": 1,
            "heartbeat_s": 0.05,
            **changes,
        }
        path = self.folder / f"{content['session']}.json"
        path.write_text(json.dumps(content))
        path.chmod(0o600)
        return path

    def start(self, **changes: Any) -> Runner:
        runner = Runner(self.session(**changes))
        thread = threading.Thread(target=runner.run)
        thread.start()
        self.runners.append((runner, thread))
        return runner

    def lease(self, code: str, *, outputs: Any = ("model",), **changes: Any) -> dict[str, Any]:
        """A task whose image is the shared environment plus `code` as function.py."""
        layer = self.media / "layers" / uuid.uuid4().hex
        (layer / "home/user").mkdir(parents=True)
        (layer / "home/user/function.py").write_text(code)
        (venv,) = self.packages.glob("home/*/venv")
        environment = {
            "key": "e" * 64,
            "root": str(self.packages),
            "layers": [str(layer)],
            "python": str(venv / "bin/python"),
            "base_prefix": sys.base_prefix,
            "workdir": "/home/user",
            "env": {"PATH": "/home/user/venv/bin:/usr/bin:/bin", "VIRTUAL_ENV": "/home/user/venv"},
            "entrypoint": ["python3", "function.py", "--function-name", "function"],
            **changes.pop("environment", {}),
        }
        kinds = {"score": "ASSET_PERFORMANCE"}
        return {
            "task": str(uuid.uuid4()),
            "lock_token": uuid.uuid4().hex,
            "plan": str(uuid.uuid4()),
            "rank": 3,
            "function": str(uuid.uuid4()),
            "timeout_s": 0,
            "environment": environment,
            "inputs": [],
            "outputs": [
                {"identifier": name, "kind": kinds.get(name, "ASSET_MODEL"), "multiple": False}
                for name in outputs
            ],
            **changes,
        }

    def perform(self, code: str, **changes: Any) -> dict[str, Any]:
        return self.api.result(self.api.offer(self.lease(code, **changes)))

    def log(self, result: dict[str, Any]) -> str:
        return Path(result["log"]).read_text()

    def model(self, content: bytes) -> dict[str, Any]:
        key = str(uuid.uuid4())
        path = self.media / "models" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return _input("shared", "ASSET_MODEL", key, path)

    def sample(self, name: str, content: str) -> dict[str, Any]:
        key = str(uuid.uuid4())
        path = self.media / "samples" / key
        path.mkdir(parents=True)
        (path / name).write_text(content)
        return {**_input("datasamples", "ASSET_DATA_SAMPLE", key, path), "multiple": True}

    def opener(self, code: str) -> dict[str, Any]:
        key = str(uuid.uuid4())
        path = self.media / "openers" / key / "opener.py"
        path.parent.mkdir(parents=True)
        path.write_text(code)
        return _input("opener", "ASSET_DATA_MANAGER", key, path)

    def zygote_pids(self) -> list[int]:
        return [json.loads(f.read_text())["pid"] for f in (self.run_folder / "z").glob("*.json")]

    def close(self) -> None:
        pids = self.zygote_pids() if (self.run_folder / "z").exists() else []
        for runner, _thread in self.runners:
            runner.stop()
        for _runner, thread in self.runners:
            thread.join(10)
            assert not thread.is_alive()
        self.api.close()
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(map(is_alive, pids)))


def _input(identifier: str, kind: str, key: str, path: Path) -> dict[str, Any]:
    return {
        "identifier": identifier,
        "kind": kind,
        "key": key,
        "path": str(path),
        "multiple": False,
    }


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def network(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Iterator[Network]:
    network = Network(tmp_path_factory.mktemp("n"), packages)
    try:
        yield network
    finally:
        network.close()
