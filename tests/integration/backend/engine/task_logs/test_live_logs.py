"""Following a task's log while it runs, and after it."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from backend.engine.task_logs.kept import KeptLogs, keep_stored
from ray_jobs.capture import LogCapture
from tests.integration.backend.engine.conftest import served
from tests.integration.backend.engine.world import OTHER, World, eventually

PERMITTED = (
    "UPDATE compute_task SET logs_permission_authorized_ids = '{MyOrg1MSP}' WHERE key = :key"
)


class Listener:
    """Collects the events of one stream in a thread."""

    def __init__(self, api: httpx.Client, task: UUID) -> None:
        self.events: list[tuple[str, Any]] = []
        self._api = api
        self._path = f"/task/{task}/logs/stream/"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._api.stream("GET", self._path, timeout=30) as response:
            self.events.append(("status", response.status_code))
            name = ""
            for line in response.iter_lines():
                word, _, value = line.partition(": ")
                if word == "event":
                    name = value
                elif word == "data":
                    self.events.append((name, json.loads(value)))

    @property
    def text(self) -> str:
        return "".join(value for name, value in self.events if name == "log")

    def end(self) -> dict[str, Any]:
        self._thread.join(20)
        assert not self._thread.is_alive()
        name, value = self.events[-1]
        assert name == "end"
        return dict(value)


def _permit(world: World, task: UUID) -> None:
    eventually(lambda: world.row_status(task) is not None, "the event")
    world.execute(PERMITTED, key=task)


@contextmanager
def _log_of(world: World, lease: dict[str, Any]) -> Iterator[Any]:
    folder = world.settings.MEDIA_ROOT / "outbox" / lease["task"] / lease["lock_token"]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("ab", buffering=0) as file:
        yield file


def test_a_running_task_is_heard_while_it_speaks(world: World, api: httpx.Client) -> None:
    task = world.task(world.plan(), world.function())
    _permit(world, task)
    listener = Listener(api, task)
    session = world.session()
    lease = world.lease(session)
    with _log_of(world, lease) as log:
        log.write("epoch 1 of 2, größer\n".encode()[:17])  # in the middle of a letter
        eventually(lambda: "epoch 1 of 2, gr" in listener.text, "the first line")
        log.write("epoch 1 of 2, größer\n".encode()[17:])
        eventually(lambda: "größer\n" in listener.text, "its end")
        log.write(b"event: end\ndata: no\n")
    result = world.result(lease)
    folder = world.settings.MEDIA_ROOT / "outbox" / lease["task"] / lease["lock_token"]
    world.give(session, result.model_copy(update={"log": str(folder / "log")}))
    assert listener.end() == {"status": "STATUS_DONE"}
    assert listener.text == "epoch 1 of 2, größer\nevent: end\ndata: no\n"
    assert not folder.exists()
    again = Listener(api, task)
    assert again.end() == {"status": "STATUS_DONE"}
    assert again.text == listener.text


def _has_heard(listener: Listener, said: str) -> bool:
    return listener.text == said


def test_a_long_log_is_heard_as_it_grows_and_to_its_end(world: World, api: httpx.Client) -> None:
    """What comes beyond the head lies in the runner's ring: nothing is missing for who listens all the time."""
    task = world.task(world.plan(), world.function())
    _permit(world, task)
    listener = Listener(api, task)
    session = world.session()
    lease = world.lease(session)
    folder = world.settings.MEDIA_ROOT / "outbox" / lease["task"] / lease["lock_token"]
    capture = LogCapture(folder / "log", head_bytes=100, tail_bytes=10_000)
    said = ""
    for number in range(40):
        line = f"epoch {number}: " + "größer " * 100 + "\n"
        capture.add(line.encode())
        said += line
        if number % 10 == 9:
            eventually(partial(_has_heard, listener, said), "what was said so far")
    capture.say("the end")
    capture.close()
    result = world.result(lease)
    world.give(session, result.model_copy(update={"log": str(folder / "log")}))
    assert listener.end() == {"status": "STATUS_DONE"}
    assert listener.text == f"{said}the end\n"
    again = Listener(api, task)
    assert again.end() == {"status": "STATUS_DONE"}
    assert "bytes of the log left out" in again.text
    assert len(again.text.encode()) < 10_300


def test_a_flood_leaves_out_what_nobody_could_read_and_says_so(
    world: World, api: httpx.Client
) -> None:
    task = world.task(world.plan(), world.function())
    _permit(world, task)
    session = world.session()
    lease = world.lease(session)
    folder = world.settings.MEDIA_ROOT / "outbox" / lease["task"] / lease["lock_token"]
    capture = LogCapture(folder / "log", head_bytes=10, tail_bytes=1000)
    listener = Listener(api, task)
    capture.add(b"0123456789beyond\n")
    eventually(lambda: "beyond" in listener.text, "the beginning")
    for _ in range(100):
        capture.add(b"x" * 9_999 + b"\n")
    capture.add(b"the last line\n")
    eventually(lambda: "the last line" in listener.text, "the end")
    capture.close()
    result = world.result(lease)
    world.give(session, result.model_copy(update={"log": str(folder / "log")}))
    assert listener.end() == {"status": "STATUS_DONE"}
    assert "bytes left out: they came faster than they could be read" in listener.text
    assert listener.text.endswith("\nthe last line\n")


def test_a_failed_task_is_heard_after_its_end(world: World, api: httpx.Client) -> None:
    task = world.task(world.plan(), world.function())
    _permit(world, task)
    session = world.session()
    world.give(session, world.failure(world.lease(session), "EXECUTION", b"Traceback: x"))
    eventually(lambda: world.row_status(task) == "STATUS_FAILED", "the event")
    listener = Listener(api, task)
    assert listener.end() == {"status": "STATUS_FAILED"}
    assert listener.text == "Traceback: x"


def test_a_task_that_starts_again_begins_a_new_log(world: World, api: httpx.Client) -> None:
    task = world.task(world.plan(), world.function())
    _permit(world, task)
    listener = Listener(api, task)
    with _log_of(world, world.lease(world.session())) as log:
        log.write(b"first")
        eventually(lambda: listener.text == "first", "the first attempt")
    world.expire()
    session = world.session()
    lease = world.lease(session)
    with _log_of(world, lease) as log:
        log.write(b"second")
        eventually(lambda: listener.text == "firstsecond", "the second attempt")
    assert ("attempt", {}) in listener.events
    world.give(session, world.result(lease))
    assert listener.end() == {"status": "STATUS_DONE"}


def test_who_may_not_read_logs_may_not_follow_them(world: World, api: httpx.Client) -> None:
    task = world.task(world.plan(), world.function())
    _permit(world, task)
    world.execute("UPDATE compute_task SET logs_permission_authorized_ids = '{}'")
    assert api.get(f"/task/{task}/logs/stream/").status_code == 403
    assert api.get(f"/task/{uuid4()}/logs/stream/").status_code == 404
    del api.headers["Authorization"]
    assert api.get(f"/task/{task}/logs/stream/").status_code == 401


def test_the_log_of_a_success_never_leaves_its_organization(
    world: World, api: httpx.Client
) -> None:
    task = world.task(world.plan(), world.function())
    _permit(world, task)
    world.execute(
        "UPDATE compute_task SET logs_permission_authorized_ids = '{MyOrg1MSP,MyOrg2MSP}'"
    )
    session = world.session()
    lease = world.lease(session)
    with _log_of(world, lease) as log:
        log.write(b"private")
        path = Path(log.name)
    world.give(session, world.result(lease).model_copy(update={"log": str(path)}))
    eventually(lambda: world.row_status(task) == "STATUS_DONE", "the event")
    assert Listener(api, task).end() == {"status": "STATUS_DONE"}
    peer = {"Substra-Channel-Name": "mychannel"}
    del api.headers["Authorization"]
    answer = api.get(f"/task/{task}/logs/stream/", auth=(OTHER, "s21"), headers=peer)
    assert answer.status_code == 410


def test_another_organizations_task_is_asked_there(world: World, api: httpx.Client) -> None:
    task = world.task(world.plan(), world.function(), worker=OTHER)
    _permit(world, task)
    assert api.get(f"/task/{task}/logs/stream/").status_code == 504  # nobody is there


@pytest.fixture
def pods_api(world: World) -> Iterator[httpx.Client]:
    """The API of an organization whose tasks run in pods."""
    with served(world, COMPUTE="kuberay") as client:
        yield client


def test_a_task_in_a_pod_is_heard_while_it_runs_and_after_it(
    world: World, pods_api: httpx.Client
) -> None:
    task = world.task(world.plan(), world.function())
    _permit(world, task)
    listener = Listener(pods_api, task)
    session = world.session()
    lease = world.lease(session)
    sent = f"incoming/{lease['task']}/{lease['lock_token']}/log"
    world.storage.put(sent, [b"epoch 1\n"])
    eventually(lambda: listener.text == "epoch 1\n", "what it said so far")
    world.storage.put(sent, [b"epoch 1\nepoch 2\n"])
    keep_stored(world.storage, task, sent)
    world.storage.delete(sent)
    world.give(session, world.result(lease))
    assert listener.end() == {"status": "STATUS_DONE"}
    assert listener.text == "epoch 1\nepoch 2\n"
    again = Listener(pods_api, task)
    assert again.end() == {"status": "STATUS_DONE"}
    assert again.text == listener.text
    world.execute("UPDATE compute_task SET logs_permission_authorized_ids = '{MyOrg2MSP}'")
    peer = {"Substra-Channel-Name": "mychannel"}
    del pods_api.headers["Authorization"]
    path = f"/task/{task}/logs/stream/"
    assert pods_api.get(path, auth=(OTHER, "s21"), headers=peer).status_code == 410


def test_kept_logs_are_forgotten_in_time(tmp_path: Path) -> None:
    kept, old, new = KeptLogs(tmp_path, 3600), uuid4(), uuid4()
    for task in (old, new):
        source = tmp_path / f"{task}"
        source.write_text("x")
        kept.keep(task, source)
    os.utime(kept.path(old), (0, 0))
    assert kept.forget_old() == 1
    assert not kept.path(old).exists()
    assert kept.path(new).read_text() == "x"


@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_kept_without_a_retention_time(tmp_path: Path, there: bool) -> None:
    source = tmp_path / "log"
    if there:
        source.write_text("x")
    KeptLogs(tmp_path, 0).keep(uuid4(), source)
    KeptLogs(tmp_path, 60).keep(uuid4(), tmp_path / "missing")
    assert source.exists() is there
