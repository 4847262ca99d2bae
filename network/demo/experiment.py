"""The experiment in four steps, through nothing but the public SDK and SubstraFL."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import sklearn
import substra
from substra.sdk.schemas import DataSampleSpec, DatasetSpec, Permissions
from substrafl.dependency import Dependency
from substrafl.evaluation_strategy import EvaluationStrategy
from substrafl.experiment import execute_experiment
from substrafl.nodes import AggregationNode, TestDataNode, TrainDataNode

from network.demo import algorithm, data

ROUNDS = 3
POLL_S = 0.05
OPENER = Path(__file__).with_name("opener.py")
ENDED = {"PLAN_STATUS_DONE", "PLAN_STATUS_FAILED", "PLAN_STATUS_CANCELED"}
BUILT = {"FUNCTION_STATUS_READY", "FUNCTION_STATUS_FAILED", "FUNCTION_STATUS_CANCELED"}

Progress = Callable[[int, int], None]  # done, total


class ExperimentFailed(RuntimeError):
    """The plan did not end well; the text says which task and why."""


class BuildsFirst(substra.Client):  # type: ignore[misc]
    """A client that submits a plan only when the images of its functions are there.

    Nobody has to: tasks wait for their image by themselves. It lets us watch and time the builds
    and the training one after the other.
    """

    on_build: Progress = staticmethod(lambda done, total: None)
    built_at: float = 0.0  # time.monotonic()

    def add_compute_plan(self, data: Any, *arguments: Any, **options: Any) -> Any:
        if self.backend_mode == substra.BackendType.REMOTE:
            keys = {task.function_key for task in data.tasks}
            while (built := sum(self._is_built(key) for key in keys)) < len(keys):
                self.on_build(built, len(keys))
                time.sleep(POLL_S)
            self.on_build(built, len(keys))
        self.built_at = time.monotonic()
        return super().add_compute_plan(data, *arguments, **options)

    def _is_built(self, key: str) -> bool:
        return self.get_function(key).status.value in BUILT


@dataclass(frozen=True)
class Member:
    """One organization as its own data scientist sees it."""

    name: str  # org-1
    client: BuildsFirst
    share: data.Share

    @property
    def msp_id(self) -> str:
        return str(self.client.organization_info().organization_id)


@dataclass
class Outcome:
    plan: str  # key of the compute plan
    tasks: int = 0
    build_s: float = 0.0
    train_s: float = 0.0
    performances: dict[str, list[float]] = field(default_factory=dict)  # member -> by round


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the SDK's own progress bars and log lines off the screen: we have one bar."""
    import tqdm.auto

    names = ("substra", "substrafl", "tqdm")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    original = tqdm.auto.tqdm.__init__

    def silent(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **{**options, "disable": True})

    tqdm.auto.tqdm.__init__ = silent
    try:
        yield
    finally:
        tqdm.auto.tqdm.__init__ = original
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def register(
    member: Member, everybody: list[str], work: Path
) -> tuple[TrainDataNode, TestDataNode]:
    """Step 1: the organization registers its opener and its patients, usable by those it names.

    The files go to the organization's own backend and stay there. `everybody` (MSP ids) may send
    functions to the data; that is not the same as seeing it.
    """
    allowed = Permissions(public=False, authorized_ids=everybody)
    dataset = member.client.add_dataset(
        DatasetSpec(
            name=f"Tumours of {member.name}",
            data_opener=OPENER,
            description=_description(member, work),
            permissions=allowed,
            logs_permission=allowed,
        )
    )
    train, test = (
        member.client.add_data_sample(DataSampleSpec(data_manager_keys=[dataset], path=folder))
        for folder in (
            member.share.train.save(work / member.name / "train"),
            member.share.test.save(work / member.name / "test"),
        )
    )
    return (
        TrainDataNode(member.msp_id, data_manager_key=dataset, data_sample_keys=[train]),
        TestDataNode(member.msp_id, data_manager_key=dataset, data_sample_keys=[test]),
    )


def _description(member: Member, work: Path) -> Path:
    path = work / f"{member.name}.md"
    path.write_text(
        f"# Tumours of {member.name}\n\n"
        f"{len(member.share.train.y)} patients to train on, {len(member.share.test.y)} to test on.\n",
        "utf-8",
    )
    return path


def submit(members: list[Member], work: Path, rounds: int = ROUNDS) -> Outcome:
    """Steps 1 to 3: register the data, describe the training as one compute plan, build its images.

    The first member is the data scientist and also the place where the updates are averaged.
    """
    everybody = [member.msp_id for member in members]
    nodes = [register(member, everybody, work) for member in members]
    low, high = data.published_range(data.load())
    strategy = algorithm.DiscreetFedAvg(
        algo=algorithm.AveragedLogisticRegression(low, high),
        metric_functions={"accuracy": algorithm.accuracy},
    )
    # The class travels by value: the function's image has SubstraFL and scikit-learn, but not us.
    cloudpickle.register_pickle_by_value(algorithm)
    try:
        plan = execute_experiment(
            client=members[0].client,
            strategy=strategy,
            train_data_nodes=[train for train, _ in nodes],
            evaluation_strategy=EvaluationStrategy([test for _, test in nodes], eval_frequency=1),
            aggregation_node=AggregationNode(everybody[0]),
            num_rounds=rounds,
            experiment_folder=work / "summaries",
            dependencies=Dependency(
                pypi_dependencies=[
                    f"numpy=={np.__version__}",
                    f"scikit-learn=={sklearn.__version__}",
                ]
            ),
            name="Tumours, averaged",
        )
    finally:
        cloudpickle.unregister_pickle_by_value(algorithm)
    return Outcome(plan=plan.key)


def wait_for_tasks(client: substra.Client, plan: str, progress: Progress) -> None:
    """Step 4: the organizations train.

    Raises:
        ExperimentFailed: the plan ended otherwise than done; with the failed task's log.
    """
    while True:
        now = client.get_compute_plan(plan)
        progress(now.done_count, now.task_count)
        if now.status.value in ENDED:
            break
        time.sleep(POLL_S)
    if now.status.value != "PLAN_STATUS_DONE":
        log = client.get_logs(now.failed_task_key) if now.failed_task_key else "no task failed"
        raise ExperimentFailed(f"plan {plan} ended {now.status.value}\n{log}")


def run(
    members: list[Member],
    work: Path,
    rounds: int = ROUNDS,
    on_build: Progress = lambda done, total: None,
    on_train: Progress = lambda done, total: None,
) -> Outcome:
    """The whole experiment. `work` holds the samples and SubstraFL's temporary files.

    In the SDK's local modes `submit` returns when everything has run, so its time is the training's.
    """
    work.mkdir(parents=True, exist_ok=True)
    client = members[0].client
    started = time.monotonic()
    with chdir(work), quiet():  # SubstraFL writes to the current folder
        client.on_build = on_build
        outcome = submit(members, work, rounds)
        outcome.build_s = client.built_at - started
        if client.backend_mode == substra.BackendType.REMOTE:
            wait_for_tasks(client, outcome.plan, on_train)
            outcome.train_s = _busy_seconds(client, outcome.plan)
        else:
            outcome.train_s = time.monotonic() - client.built_at
        outcome.tasks = client.get_compute_plan(outcome.plan).task_count
        outcome.performances = performances(members, outcome.plan, rounds)
    return outcome


def _busy_seconds(client: substra.Client, plan: str) -> float:
    """From the first task's start to the last one's end, by the ledger's dates."""
    tasks = client.list_task(filters={"compute_plan_key": [plan]})
    starts: list[datetime] = [task.start_date for task in tasks if task.start_date]
    ends: list[datetime] = [task.end_date for task in tasks if task.end_date]
    return (max(ends) - min(starts)).total_seconds() if starts and ends else 0.0


def performances(members: list[Member], plan: str, rounds: int) -> dict[str, list[float]]:
    """Accuracy of every member after each round; round 0 is the untrained model."""
    rows = members[0].client.get_performances(plan)
    measured = {
        (worker, round_idx): value
        for worker, round_idx, value in zip(
            rows.worker, rows.round_idx, rows.performance, strict=True
        )
    }
    return {
        member.name: [float(measured[member.msp_id, index]) for index in range(rounds + 1)]
        for member in members
    }


def alone(member: Member, rounds: int = ROUNDS) -> float:
    """What the organization reaches by itself: the same training, as often, on its own patients."""
    model = algorithm.AveragedLogisticRegression(*data.published_range(data.load()))
    model.fit(vars(member.share.train), epochs=algorithm.EPOCHS * rounds)
    test = vars(member.share.test)
    return algorithm.accuracy(test, model.predict(test))


def refusal(asking: Member, owner: Member, plan: str, folder: Path) -> str | None:
    """Organization `asking` wants the last update of `owner`, which only the averaging may read.

    Returns:
        the answer of the owner's backend, or None if (wrongly) the model was handed out.
    """
    tasks = owner.client.list_task(filters={"compute_plan_key": [plan], "worker": [owner.msp_id]})
    last = max((task for task in tasks if task.tag == "train"), key=lambda task: task.rank)
    model = owner.client.get_task_output_asset(last.key, "shared").asset
    try:
        asking.client.download_model(model.key, folder)
    except substra.exceptions.RequestException as error:
        return f"{error.status_code}: {error.msg}"
    return None
