"""The queue and the pool of pods: who may have which task, addresses instead of paths, sessions that end."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from backend.engine.compute.cluster.causes import Cause, Kind, Verdict
from backend.engine.compute.cluster.images import PodImages
from backend.engine.compute.cluster.inputs import PodInputs
from backend.engine.compute.cluster.leases import arrivals
from backend.engine.compute.cluster.offering import PodOffering
from backend.engine.compute.cluster.planning import Demand
from backend.engine.compute.cluster.sweeping import PodSweeper
from backend.engine.compute.cluster.template import group_name, session_token
from backend.engine.compute.cluster.work import QueueWork
from backend.engine.compute.offering import Images, Inputs, Offering
from backend.engine.compute.results import Result
from backend.engine.images.published import ImagesOfOthers
from backend.engine.task_logs.kept import stored_log
from backend.kit.database import Database
from backend.ports.exchange import Exchange
from backend.ports.registry import ImageFound
from backend.ports.storage import FilesystemStorage
from tests.integration.backend.engine.registering import IMAGE, ME
from tests.integration.backend.engine.world import World, eventually

REGISTRY, REPOSITORY = "registry:5000", "org-1/functions"
REFERENCE = f"{REGISTRY}/{REPOSITORY}@sha256:{IMAGE}"
GROUP = group_name(REFERENCE)
KEY = b"k" * 32
LOST = Cause(Kind.LOST, Verdict.AGAIN, "its pod was deleted")
MEMORY = Cause(Kind.MEMORY, Verdict.FAIL, "the function needed more memory than it may have")


class Addressed(FilesystemStorage):
    """A store whose addresses name its keys."""

    def download_url(self, key: str, expires_s: int) -> str:  # type: ignore[override]
        return f"get://{key}"

    def upload_url(self, key: str, expires_s: int) -> str:  # type: ignore[override]
        return f"put://{key}"


class OneImage:
    """A registry that has the image of every function here."""

    def image(self, repository: str, reference: str) -> ImageFound | None:
        known = reference == f"sha256:{IMAGE}"
        return ImageFound(repository, reference, "", b"{}") if known else None

    def config(self, image: ImageFound) -> dict[str, Any]:
        return {"WorkingDir": "/home/user", "Entrypoint": ["python3", "f.py"], "Env": ["A=b=c"]}


class PodWorld(World):
    """The world of an organization whose tasks run in pods."""

    def new_storage(self) -> FilesystemStorage:
        return Addressed(self.settings.MEDIA_ROOT)

    def ways(self) -> tuple[Inputs, Images, Offering]:
        registry: Any = OneImage()
        others = ImagesOfOthers(registry, REPOSITORY, Exchange(self.settings), self.folder)
        images = PodImages(registry, REGISTRY, REPOSITORY, ME, others)
        inputs = PodInputs(ME, self.storage, self.cache)
        self.work = QueueWork(
            self.settings, self.database, self.storage, images, self.reporter, self.wakeups.wake
        )
        return inputs, images, PodOffering(self.settings, inputs, images, self.chainkeys)

    def pod(self, plan: str, group: str = GROUP) -> UUID:
        """A session that its pod has shown the token of."""
        session = str(uuid4())
        self.work.opened(session, session_token(KEY, session), plan, group)
        self.service.authenticate(UUID(session), session_token(KEY, session))
        return UUID(session)

    def pod_lease(self, session: UUID) -> dict[str, Any]:
        work = eventually(lambda: self.service.take(session), "a lease")
        self.service.start(work)
        return self.service.lease(session, work)

    def send(self, url: str, content: bytes) -> None:
        scheme, _, key = url.partition("://")
        assert scheme == "put"
        self.storage.put(key, [content])

    def done(self, lease: dict[str, Any], content: bytes) -> Result:
        """What a pod gives back after it has sent its model and its log."""
        (slot,) = lease["outputs"]
        self.send(slot["url"], content)
        self.send(lease["log_url"], b"a line")
        checksum = hashlib.sha256(content + lease["task"].encode()).hexdigest()
        output = {**slot, "checksum": checksum, "size": len(content)}
        known = {name: lease[name] for name in ("task", "lock_token")}
        return Result.model_validate({**known, "exit": 0, "outputs": [output]})


@pytest.fixture
def pods(database: Database, ledger_url: str, tmp_path: Path) -> Iterator[PodWorld]:
    world = PodWorld(database, ledger_url, tmp_path)
    world.start()
    yield world
    world.stop()


def ready(pods: PodWorld, *tasks: UUID) -> None:
    for task in tasks:
        eventually(lambda task=task: pods.work_state(task) == "ready", "it is ready")  # type: ignore[misc]


def test_a_chain_runs_by_addresses_of_the_store(pods: PodWorld) -> None:
    plan, function = pods.plan(), pods.function(inputs={"shared": "ASSET_MODEL"})
    first = pods.task(plan, function)
    second = pods.task(plan, function, parents={"shared": (str(first), "model")})
    session = pods.pod(plan)
    lease = pods.pod_lease(session)
    assert lease["task"] == str(first)
    assert lease["environment"] == {
        "image": REFERENCE,
        "workdir": "/home/user",
        "entrypoint": ["python3", "f.py"],
        "env": {},
    }
    row = pods.one("SELECT cpus, gpus FROM work WHERE key = :key", key=first)
    assert tuple(row) == (0, 0), "Kubernetes counts them"
    pods.give(session, pods.done(lease, b"weights"))
    assert pods.status(first) == "STATUS_DONE"
    row = pods.one("SELECT key, file, size FROM model_file")
    assert b"".join(pods.storage.read(row.file)) == b"weights"
    assert list(pods.storage.keys("incoming")) == []
    assert b"".join(pods.storage.read(stored_log(first))) == b"a line"
    lease = pods.pod_lease(session)
    assert lease["task"] == str(second)
    (given,) = lease["inputs"]
    assert (given["url"], given["form"]) == (f"get://{row.file}", "file")
    assert given["key"] == str(row.key)
    assert "path" not in given
    pods.give(session, pods.done(lease, b"more"))
    assert pods.status(second) == "STATUS_DONE"


def test_a_session_gets_tasks_of_its_plan_and_image_only(pods: PodWorld) -> None:
    function = pods.function()
    plans = [pods.plan(), pods.plan()]
    tasks = [pods.task(plan, function) for plan in plans]
    ready(pods, *tasks)
    assert pods.service.take(pods.pod(plans[0], "fn-" + "0" * 16)) is None
    second = pods.pod(plans[1])
    work = pods.service.take(second)
    assert work is not None
    assert work.key == tasks[1]
    assert pods.service.take(second) is None
    assert pods.work_state(tasks[0]) == "ready"


def test_demands_are_tasks_that_wait_or_run_by_plan_and_image(pods: PodWorld) -> None:
    function, plan = pods.function(), pods.plan()
    tasks = [pods.task(plan, function) for _ in range(3)]
    ready(pods, *tasks)
    assert pods.work.demands() == [Demand(plan, GROUP, 3)]
    assert list(pods.work.images()) == [GROUP]
    session = pods.pod(plan)
    lease = pods.pod_lease(session)
    assert pods.work.demands() == [Demand(plan, GROUP, 3)]
    pods.give(session, pods.done(lease, b"weights"))
    assert pods.work.demands() == [Demand(plan, GROUP, 2)]


def test_an_image_is_announced_as_soon_as_its_function_is_ready(pods: PodWorld) -> None:
    function = pods.function(ready=False)
    eventually(lambda: pods.count("function") == 1, "its row is there")
    assert pods.work.images() == {}
    pods.build(function)
    image = eventually(lambda: pods.work.images().get(GROUP), "its image")
    assert (image.reference, image.env) == (REFERENCE, (("A", "b=c"),))


def test_a_lost_pods_task_is_free_at_once_and_says_why(pods: PodWorld) -> None:
    plan, function = pods.plan(), pods.function()
    task = pods.task(plan, function)
    session = pods.pod(plan)
    lost = pods.pod_lease(session)
    pods.work.ended(str(session), LOST)
    row = pods.one("SELECT state, last_error FROM work WHERE key = :key", key=task)
    assert tuple(row) == ("ready", LOST.text)
    other = pods.pod(plan)
    again = pods.pod_lease(other)
    assert (again["task"], again["lock_token"] != lost["lock_token"]) == (str(task), True)
    assert pods.service.give(session, pods.done(lost, b"late")) is None
    pods.give(other, pods.done(again, b"weights"))
    assert pods.status(task) == "STATUS_DONE"
    row = pods.one("SELECT file FROM model_file")
    assert b"".join(pods.storage.read(row.file)) == b"weights"


def test_an_ended_session_gets_nothing_though_its_token_was_just_seen(pods: PodWorld) -> None:
    plan, function = pods.plan(), pods.function()
    session = pods.pod(plan)
    ready(pods, pods.task(plan, function))
    pods.work.ended(str(session), None)
    assert pods.service.take(session) is None
    assert pods.service.take(pods.pod(plan)) is not None


def test_a_function_that_ends_its_container_fails_with_a_log(pods: PodWorld) -> None:
    plan, function = pods.plan(), pods.function()
    task = pods.task(plan, function)
    session = pods.pod(plan)
    pods.pod_lease(session)
    pods.work.ended(str(session), MEMORY)
    assert pods.status(task) == "STATUS_FAILED"
    row = pods.one("SELECT file, size FROM log_file WHERE asset_key = :key", key=task)
    log = b"".join(pods.storage.read(row.file))
    assert log == f"The function was ended: {MEMORY.text}.\n".encode()
    assert row.size == len(log)


def test_a_failed_functions_log_comes_from_where_its_pod_put_it(pods: PodWorld) -> None:
    plan, function = pods.plan(), pods.function()
    task = pods.task(plan, function)
    session = pods.pod(plan)
    lease = pods.pod_lease(session)
    pods.send(lease["log_url"], b"Traceback")
    known = {name: lease[name] for name in ("task", "lock_token")}
    failure = {"category": "EXECUTION", "reason": "exit code 1"}
    pods.give(session, Result.model_validate({**known, "exit": 1, "failure": failure}))
    assert pods.status(task) == "STATUS_FAILED"
    row = pods.one("SELECT file, checksum FROM log_file WHERE asset_key = :key", key=task)
    assert b"".join(pods.storage.read(row.file)) == b"Traceback"
    assert row.checksum == hashlib.sha256(b"Traceback").hexdigest()


def test_a_model_that_did_not_arrive_is_no_result(pods: PodWorld) -> None:
    plan, function = pods.plan(), pods.function()
    task = pods.task(plan, function)
    session = pods.pod(plan)
    lease = pods.pod_lease(session)
    result = pods.done(lease, b"weights")
    (key,) = [k for k in pods.storage.keys(arrivals(lease["task"], lease["lock_token"]))
              if not k.endswith("/log")]  # fmt: skip
    pods.storage.delete(key)
    pods.give(session, result)
    assert pods.status(task) == "STATUS_FAILED"


def test_what_leases_and_foreign_models_left_in_the_store_goes(pods: PodWorld) -> None:
    plan, function = pods.plan(), pods.function()
    pods.task(plan, function)
    lease = pods.pod_lease(pods.pod(plan))
    pods.send(lease["log_url"], b"of a lease that lives")
    kept = list(pods.storage.keys("incoming"))
    pods.storage.put(f"incoming/{uuid4()}/aa/log", [b"of one that is over"])
    pods.storage.put(f"staged/models/{uuid4()}/model", [b"read by nobody"])
    inputs = PodInputs(ME, pods.storage, pods.cache)
    PodSweeper(ME, pods.database, pods.storage, inputs, 3600).turn()
    assert list(pods.storage.keys("incoming")) == kept
    assert list(pods.storage.keys("staged")) == []


def test_logs_of_successes_go_in_time(pods: PodWorld) -> None:
    plan, function = pods.plan(), pods.function()
    task, unknown = pods.task(plan, function), uuid4()
    session = pods.pod(plan)
    pods.give(session, pods.done(pods.pod_lease(session), b"weights"))
    eventually(lambda: pods.row_status(task) == "STATUS_DONE", "the event")
    pods.storage.put(stored_log(unknown), [b"of nobody's task"])
    inputs = PodInputs(ME, pods.storage, pods.cache)
    PodSweeper(ME, pods.database, pods.storage, inputs, 3600).turn()
    assert list(pods.storage.keys("task-logs")) == [stored_log(task)]
    PodSweeper(ME, pods.database, pods.storage, inputs, 0).turn()
    assert list(pods.storage.keys("task-logs")) == []


def cause(pods: PodWorld, task: UUID) -> str | None:
    found: str | None = pods.one("SELECT cause FROM work WHERE key = :key", key=task)[0]
    return found


def test_why_pods_do_not_come_is_told_until_they_do(pods: PodWorld) -> None:
    plan, function = pods.plan(), pods.function()
    task = pods.task(plan, function)
    ready(pods, task)
    room = Cause(Kind.UNSCHEDULABLE, Verdict.WAIT, "no node has room for its pod: 0/1 nodes")
    pods.work.waits(GROUP, room)
    assert cause(pods, task) == room.text
    pods.work.waits("fn-" + "0" * 16, None)
    assert cause(pods, task) == room.text
    pods.work.waits(GROUP, None)
    assert cause(pods, task) is None
