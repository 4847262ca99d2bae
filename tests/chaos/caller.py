"""A patient user of one organization: what fails in passing is asked again, as the SDK does."""

import io
import json
import sys
import tarfile
import time
from dataclasses import dataclass, field
from typing import IO, Any
from uuid import uuid4

import httpx

PATIENCE_S = 120.0
PAUSE_S = 0.1
PASSING = (502, 503, 504)
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
DOCKERFILE = f"""\
FROM python:{VERSION}-slim
WORKDIR /home/user
COPY function.py .
RUN_LINE
ENTRYPOINT ["python3", "function.py"]
"""
FUNCTION = '''\
"""One more than its input models and samples together; a performance is ten times that."""
import json, os, sys, time

words = open(sys.argv[1][1:]).read().split("\\n")
values = {words[i]: json.loads(words[i + 1]) for i in range(0, len(words) - 1, 2)}
total = 1
for given in values["--inputs"]:
    if given["id"] == "datasamples":
        total += json.load(open(os.path.join(given["value"], "number.json")))
    elif given["id"] == "given":
        total += json.load(open(given["value"]))
BODY
for output in values["--outputs"]:
    with open(output["value"], "w") as file:
        json.dump({"all": total * 10} if output["id"] == "score" else total, file)
'''
DATA = {
    "opener": {"kind": "ASSET_DATA_MANAGER", "multiple": False, "optional": False},
    "datasamples": {"kind": "ASSET_DATA_SAMPLE", "multiple": True, "optional": False},
}
MODELS = {"given": {"kind": "ASSET_MODEL", "multiple": True, "optional": True}}
PUBLIC = {"public": True, "authorized_ids": []}


@dataclass
class Caller:
    """Requests are repeated for two minutes; a key that is there already counts as registered."""

    url: str
    user: str
    password: str
    msp_id: str
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, timeout=20)

    def log_in(self) -> None:
        """Take a token. Raises AssertionError when it is refused."""
        credentials = {"username": self.user, "password": self.password}
        answer = self.ask("POST", "/api-token-auth/", data=credentials)
        assert answer.status_code == 200, answer.text
        self.client.headers["Authorization"] = f"Token {answer.json()['token']}"
        self.client.headers["Accept"] = "application/json;version=0.0"

    def ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        """The first answer that is not the outage's."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self.client.request(method, path, **content)
                if answer.status_code not in PASSING:
                    return answer
                cause = f"{answer.status_code} {answer.text[:200]}"
            except httpx.HTTPError as error:
                cause = repr(error)
            assert time.monotonic() < deadline, f"{method} {path}: {cause}"
            time.sleep(PAUSE_S)

    def register(self, path: str, **content: Any) -> dict[str, Any]:
        """A registration that may be repeated; {} when an earlier try had come through."""
        answer = self.ask("POST", path, **content)
        assert answer.status_code in (200, 201, 409), f"{path}: {answer.status_code} {answer.text}"
        body: Any = answer.json()
        return body if answer.status_code != 409 and isinstance(body, dict) else {}

    def get(self, path: str) -> dict[str, Any]:
        """{} for what is not known here yet."""
        answer = self.ask("GET", path)
        assert answer.status_code in (200, 404), f"{path}: {answer.status_code} {answer.text}"
        return dict(answer.json()) if answer.status_code == 200 else {}

    def status(self, kind: str, key: str) -> str:
        return str(self.get(f"/{kind}/{key}/").get("status", "unseen"))

    # ------------------------------------------------------------------ registrations
    def function(
        self, body: str = "", run: str = "", data: bool = False, score: bool = True
    ) -> str:
        """A new function; `body` runs before it writes, `run` is one more line of the Dockerfile.

        `data`: it wants an opener and samples, else any number of models. `score`: beside its model it puts
        out a performance.
        """
        outputs = {"sum": {"kind": "ASSET_MODEL", "multiple": False}}
        if score:
            outputs["score"] = {"kind": "ASSET_PERFORMANCE", "multiple": False}
        files = {
            "Dockerfile": DOCKERFILE.replace("RUN_LINE", run),
            "function.py": FUNCTION.replace("BODY", f"# {uuid4()}\n{body}"),
        }
        content = {
            "name": "add",
            "permissions": PUBLIC,
            "metadata": {},
            "inputs": DATA if data else MODELS,
            "outputs": outputs,
        }
        sent = {"file": ("function.tar.gz", archive(files)), "description": ("d.md", b"# add")}
        answer = self.ask("POST", "/function/", data={"json": json.dumps(content)}, files=sent)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])

    def data(self, number: int) -> tuple[str, str]:
        """A data manager and a sample of one number."""
        manager = self.data_manager()
        sample = archive({"number.json": str(number), "unique": str(uuid4())})
        return manager, self.sample(manager, sample)

    def data_manager(self) -> str:
        content: dict[str, Any] = {"name": "numbers", "permissions": PUBLIC, "metadata": {}}
        content["logs_permission"] = PUBLIC
        sent = {"data_opener": ("opener.py", b"# opener"), "description": ("d.md", b"# data")}
        answer = self.ask("POST", "/data_manager/", data={"json": json.dumps(content)}, files=sent)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])

    def sample(self, manager: str, content: bytes | IO[bytes], **options: Any) -> str:
        """Register an archive as a sample; a file is sent as it is read."""
        answer = self.ask(
            "POST",
            "/data_sample/",
            data={"json": json.dumps({"data_manager_keys": [manager]})},
            files={"file": ("sample.tar.gz", content)},
            **options,
        )
        assert answer.status_code in (200, 201), answer.text
        body = answer.json()
        return str((body[0] if isinstance(body, list) else body)["key"])

    def plan(self) -> str:
        key = str(uuid4())
        self.register("/compute_plan/", json={"key": key, "name": "chaos"})
        return key

    def tasks(self, tasks: list[dict[str, Any]]) -> None:
        self.register("/task/bulk_create/", json={"tasks": tasks})


def task(
    plan: str,
    function: str,
    worker: str,
    parents: tuple[str, ...] = (),
    data: tuple[str, str] | None = None,
    transient: bool = False,
    score: bool = True,
) -> dict[str, Any]:
    """One task as the wire has it."""
    outputs = {"sum": {"permissions": PUBLIC, "is_transient": transient}}
    if score:
        outputs["score"] = {"permissions": PUBLIC, "is_transient": False}
    inputs: list[dict[str, str]] = []
    if data is not None:
        inputs.append({"identifier": "opener", "asset_key": data[0]})
        inputs.append({"identifier": "datasamples", "asset_key": data[1]})
    for parent in parents:
        reference = {"parent_task_key": parent, "parent_task_output_identifier": "sum"}
        inputs.append({"identifier": "given", **reference})
    return {
        "key": str(uuid4()),
        "function_key": function,
        "compute_plan_key": plan,
        "worker": worker,
        "inputs": inputs,
        "outputs": outputs,
    }


def archive(files: dict[str, str]) -> bytes:
    """A tar.gz of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content.encode())
            tar.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()
