"""Organizations as their real processes, without Ray: API, control plane, runners; a ledger beside them."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import psycopg2

from orchestrator.server import Server
from tests.integration.backend.engine.world import eventually

CHANNEL = "mychannel"
ROOT = Path(__file__).parents[4]
DOCKERFILE = """\
FROM python:{version}-slim
WORKDIR /home/user
COPY function.py .
ENTRYPOINT ["python3", "function.py"]
"""
FUNCTION = '''\
"""Adds one to its input model; a metadata-free stand-in for substratools' contract."""
import json
import sys
import time

words = open(sys.argv[1][1:]).read().split("\\n")
values = {words[i]: json.loads(words[i + 1]) for i in range(0, len(words) - 1, 2)}
total = 1
for given in values["--inputs"]:
    if given["id"] == "given":
        total += json.load(open(given["value"]))
print("total", total, flush=True)
BODY
for output in values["--outputs"]:
    json.dump(total, open(output["value"], "w"))
'''


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Organization:
    """One organization's processes. `kill` and `start_*` are for tests of sudden deaths."""

    def __init__(self, number: int, count: int, ports: list[int], ledger: str, state: Path) -> None:
        self.number = number
        self.name, self.msp_id = f"org-{number}", f"MyOrg{number}MSP"
        self.port = ports[number - 1]
        self.url = f"http://127.0.0.1:{self.port}/{self.name}"
        self.state = state
        self.run = Path(tempfile.mkdtemp(prefix="sr-"))  # short: sockets lie in it
        self.settings_path = state / f"{self.name}.json"
        self.secrets = state / self.name / "secrets"
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        host, _, port = ledger.rpartition(":")
        self._settings: dict[str, Any] = {
            "NAME": self.name,
            "ORG_NAME": f"MyOrg{number}",
            "MSP_ID": self.msp_id,
            "SUBPATH": self.name,
            "CHANNELS": {CHANNEL: {"model_export_enabled": True}},
            "DEFAULT_DOMAIN": self.url,
            "PEERS": {
                f"MyOrg{n}MSP": {
                    "url": f"http://127.0.0.1:{ports[n - 1]}/org-{n}",
                    "outgoing": f"secret-{number}-{n}",
                    "incoming": f"secret-{n}-{number}",
                }
                for n in range(1, count + 1)
            },
            "USERS": [{"username": self.name, "password": "p@sswr0d4444", "channel": CHANNEL}],
            "SECRET_KEY": f"{number}" * 50,
            "ORCHESTRATOR_HOST": host,
            "ORCHESTRATOR_PORT": int(port),
            "MEDIA_ROOT": str(state / self.name / "medias"),
            "SERVERMEDIAS_ROOT": str(state / self.name / "servermedias"),
            "BUILDER_ENABLED": True,
            "WORKERS": 1,
            "RUN_FOLDER": str(self.run),
            "RUNNER_API_URL": self.url,
            "DEFAULT_THROTTLE_RATES": 10_000,
            "TASK_CHAINKEYS_ENABLED": True,
            "CHAINKEYS_FOLDER": str(self.secrets),
            "ORGANIZATION_INDEX": str(number),
        }

    def start(self, database_url: str) -> None:
        self._settings["DATABASE_URL"] = database_url
        self.settings_path.write_text(json.dumps(self._settings))
        self.settings_path.chmod(0o600)
        self.start_api()
        self.start_control()
        self.client = httpx.Client(base_url=self.url, timeout=30)
        eventually(self._log_in, f"the API of {self.name}", 60)

    def start_api(self) -> None:
        self._start("api", "backend.asgi", "--port", str(self.port))

    def start_control(self, part: str = "control") -> None:
        self._start(part, "backend.engine.actors")

    def kill(self, part: str) -> None:
        """SIGKILL, without a word."""
        child = self._children.pop(part)
        child.kill()
        child.wait(10)

    def signal(self, part: str, number: int) -> None:
        self._children[part].send_signal(number)

    def pid(self, part: str) -> int:
        return self._children[part].pid

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What its database answers."""
        connection = psycopg2.connect(self._settings["DATABASE_URL"])
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def revive(self) -> None:
        """Start again what died by itself."""
        for part, start in (("api", self.start_api), ("control", self.start_control)):
            child = self._children.get(part)
            if child is not None and child.poll() is not None:
                start()

    def runner_pid(self) -> int:
        path = self.run / "sessions" / f"runner-{self.name}-0.pid"
        return int(json.loads(path.read_text())["pid"])

    def stop(self) -> None:
        for part in sorted(self._children, key=lambda part: part == "api"):  # the API last
            self._children[part].send_signal(signal.SIGTERM)
        for child in self._children.values():
            with suppress(subprocess.TimeoutExpired):
                child.wait(25)
            child.kill()
            child.wait(5)
        with suppress(
            OSError, ValueError, psutil.Error
        ):  # one that outlived a killed control plane
            psutil.Process(self.runner_pid()).kill()
        self.client.close()
        shutil.rmtree(self.run, ignore_errors=True)

    def log(self, part: str) -> str:
        return (self.state / f"{self.name}-{part}.log").read_text("utf-8", "replace")

    def _start(self, part: str, module: str, *arguments: str) -> None:
        with (self.state / f"{self.name}-{part}.log").open("ab") as log:
            self._children[part] = subprocess.Popen(
                [sys.executable, "-m", module, "--settings", str(self.settings_path), *arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=log,
            )

    def _log_in(self) -> bool:
        with suppress(httpx.HTTPError):
            answer = self.client.post(
                "/api-token-auth/", data={"username": self.name, "password": "p@sswr0d4444"}
            )
            if answer.status_code == 200:
                self.client.headers["Authorization"] = f"Token {answer.json()['token']}"
                self.client.headers["Accept"] = "application/json;version=0.0"
                return self.client.get("/organization/").status_code == 200
        return False

    # ------------------------------------------------------------------ what a user does
    def function(self, body: str = "", *, dockerfile: str = DOCKERFILE) -> str:
        """Register a function; `body` runs before its outputs are written."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        archive = _archive(
            {
                "Dockerfile": dockerfile.replace("{version}", version),
                "function.py": FUNCTION.replace("BODY", body),
            }
        )
        content = {
            "name": "add",
            "permissions": {"public": True, "authorized_ids": []},
            "metadata": {},
            "inputs": {"given": {"kind": "ASSET_MODEL", "multiple": True, "optional": True}},
            "outputs": {"sum": {"kind": "ASSET_MODEL", "multiple": False}},
        }
        answer = self.client.post(
            "/function/",
            data={"json": json.dumps(content)},
            files={
                "file": ("function.tar.gz", archive),
                "description": ("description.md", b"# add"),
            },
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])

    def plan(self, tag: str = "") -> str:
        key = str(uuid4())
        content = {"key": key, "name": "plan", "tag": tag}
        answer = self.client.post("/compute_plan/", json=content)
        assert answer.status_code == 201, answer.text
        return key

    def chain(self, plan: str, function: str, workers: list[str]) -> list[str]:
        """Tasks, each with the model of the one before."""
        tasks: list[dict[str, Any]] = []
        for worker in workers:
            inputs = []
            if tasks:
                parent = {
                    "parent_task_key": tasks[-1]["key"],
                    "parent_task_output_identifier": "sum",
                }
                inputs = [{"identifier": "given", **parent}]
            tasks.append(
                {
                    "key": str(uuid4()),
                    "function_key": function,
                    "compute_plan_key": plan,
                    "worker": worker,
                    "inputs": inputs,
                    "outputs": {
                        "sum": {
                            "permissions": {"public": True, "authorized_ids": []},
                            "is_transient": False,
                        }
                    },
                }
            )
        answer = self.client.post("/task/bulk_create/", json={"tasks": tasks})
        assert answer.status_code == 200, answer.text
        return [task["key"] for task in tasks]

    def get(self, path: str) -> dict[str, Any]:
        answer = self.client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        body: dict[str, Any] = answer.json()
        return body

    def status(self, kind: str, key: str) -> str:
        """The status; `unseen` while this organization's bridge has not heard of the asset."""
        if self.client.get(f"/{kind}/{key}/").status_code == 404:
            return "unseen"
        return str(self.get(f"/{kind}/{key}/")["status"])


class Network:
    """A ledger and organizations, each with a database of its own."""

    def __init__(self, postgres: str, state: Path, count: int) -> None:
        self._postgres = postgres
        self._state = state
        self._count = count
        self._databases: list[str] = []

    def start(self) -> None:
        members = [f"MyOrg{n}MSP" for n in range(1, self._count + 1)]
        self._server = Server(self._database(), {CHANNEL: members})
        self._server.start()
        ports = [free_port() for _ in members]
        self.organizations = [
            Organization(n, self._count, ports, self._server.address, self._state)
            for n in range(1, self._count + 1)
        ]
        for organization in self.organizations:
            organization.start(self._database())

    @property
    def ledger(self) -> str:
        """Where it listens."""
        return self._server.address

    def stop(self) -> None:
        for organization in self.organizations:
            organization.stop()
        self._server.stop()
        for name in self._databases:
            self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _database(self) -> str:
        name = f"engine_{uuid4().hex[:12]}"
        self._execute(f'CREATE DATABASE "{name}"')
        self._databases.append(name)
        return f"{self._postgres}/{name}"

    def _execute(self, statement: str) -> None:
        connection = psycopg2.connect(self._postgres + "/postgres")
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


def _archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content.encode())
            archive.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()
