"""Random conversations with a ledger, carried out beside the reference model.

A step names its assets by numbers that are taken modulo what exists, so any list of steps is a conversation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from hypothesis import strategies as st

from orchestrator.state import NewEvent
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator import failure_report_pb2 as fr
from protos.orchestrator import function_pb2 as f
from protos.orchestrator.common_pb2 import AssetKind
from protos.orchestrator.computeplan_pb2 import PLAN_ACTION_CANCELED, ApplyPlanActionParam
from protos.orchestrator.event_pb2 import EventKind
from protos.orchestrator.model_pb2 import RegisterModelsParam
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.reference import OK, OWNER, New, Reference, in_order

Step = tuple[Any, ...]
Send = Callable[[str, Message, str], str]
"""(rpc, request, caller) -> "ok" or the refusal's text."""

# ------------------------------------------------------------------ what may be asked
NUMBER = st.integers(0, 11)
ANY = st.sampled_from("ab")
RIGHT = "right"  # whoever may
CALLER = st.sampled_from([RIGHT, RIGHT, RIGHT, RIGHT, "a", "b"])
NEW = st.tuples(NUMBER, ANY, st.lists(st.integers(-4, 11), max_size=3), st.booleans())
ACTION = st.sampled_from(["EXECUTING", "DONE", "CANCELED", "FAILED"])
BUILD = st.sampled_from(["BUILDING", "BUILDING", "READY", "FAILED", "CANCELED"])
TASK_STEP = st.one_of(
    st.tuples(st.just("act"), NUMBER, ACTION, CALLER),
    st.tuples(st.just("model"), NUMBER, CALLER),
    st.tuples(st.just("disable"), NUMBER, CALLER),
    st.tuples(st.just("report"), NUMBER, CALLER),
    st.tuples(st.just("run"), NUMBER),
    st.tuples(st.just("finish"), NUMBER),
)
PLAN_STEP = st.one_of(
    st.tuples(st.just("function"), ANY, st.booleans()),
    st.tuples(st.just("build"), NUMBER, BUILD, CALLER),
    st.tuples(st.just("report function"), NUMBER, CALLER),
    st.tuples(st.just("plan")),
    st.tuples(st.just("cancel"), NUMBER, CALLER),
)
TASKS_STEP = st.tuples(st.just("tasks"), NUMBER, st.lists(NEW, min_size=1, max_size=4))
SCRIPTS: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(TASK_STEP, TASKS_STEP, PLAN_STEP), min_size=10, max_size=40
)
PROLOGUE: list[Step] = [
    ("plan",),
    ("plan",),
    ("function", "a", True),
    ("build", 0, "BUILDING", "a"),
    ("build", 0, "READY", "a"),
    ("function", "b", True),
    ("function", "a", True),
    ("build", 2, "BUILDING", "a"),
    ("build", 2, "FAILED", "a"),
    ("tasks", 0, [(0, "a", [], True), (0, "b", [-1], True), (1, "a", [-1, -2], False)]),
]


@dataclass
class Conversation:
    """One ledger and the model beside it; `keys` are the assets' real names, by their numbers."""

    send: Send
    model: Reference = field(default_factory=Reference)
    functions: list[str] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    def run(self, script: list[Step]) -> None:
        for name, *given in [*PROLOGUE, *script]:
            _STEPS[name](self, *given)

    def expect(self, rpc: str, request: Message, by: str, expected: str) -> bool:
        """Whether the ledger did it; it must answer as the model did."""
        answer = self.send(rpc, request, by)
        assert answer.startswith(expected), f"{rpc}: {answer!r} in place of {expected!r}"
        return expected == OK

    def label(self, kind: str, key: str) -> str:
        return f"{kind} {self.labels[key]}"

    # ------------------------------------------------------------------ functions and plans
    def function(self, owner: str, public: bool) -> None:
        request = r.new_function(permissions=r.PUBLIC if public else r.private())
        expected = self.model.register_function(owner, public=public)
        self._name(self.functions, request.key)
        self.expect("FunctionService/RegisterFunction", request, owner, expected)

    def build(self, number: int, action: str, caller: str) -> None:
        number %= len(self.functions)
        caller = self.model.functions[number].owner if caller == RIGHT else caller
        request = f.ApplyFunctionActionParam(
            function_key=self.functions[number],
            action=f.FunctionAction.Value(f"FUNCTION_ACTION_{action}"),
        )
        expected = self.model.build(number, action, caller)
        self.expect("FunctionService/ApplyFunctionAction", request, caller, expected)

    def report_function(self, number: int, caller: str) -> None:
        number %= len(self.functions)
        caller = self.model.functions[number].owner if caller == RIGHT else caller
        expected = self.model.report_function(number, caller)
        self._report(self.functions[number], fr.FAILED_ASSET_FUNCTION, caller, expected)

    def plan(self) -> None:
        request = r.new_plan()
        self._name(self.plans, request.key)
        expected = self.model.register_plan()
        self.expect("ComputePlanService/RegisterPlan", request, OWNER, expected)

    def cancel(self, number: int, caller: str) -> None:
        number %= len(self.plans)
        caller = OWNER if caller == RIGHT else caller
        request = ApplyPlanActionParam(key=self.plans[number], action=PLAN_ACTION_CANCELED)
        expected = self.model.cancel(number, caller)
        self.expect("ComputePlanService/ApplyPlanAction", request, caller, expected)

    # ------------------------------------------------------------------ tasks
    def register(self, plan: int, batch: list[tuple[int, str, list[int], bool]]) -> None:
        plan %= len(self.plans)
        keys = [r.key() for _ in batch]
        news, tasks = [], []
        for key, (function, worker, wanted, transient) in zip(keys, batch, strict=True):
            parents = tuple(self._parent(number, len(batch)) for number in wanted)
            function %= len(self.functions)
            news.append(New(function, worker, parents, transient))
            names = [keys[-1 - p] if p < 0 else self.tasks[p] for p in parents]
            task = r.new_task(
                self.plans[plan],
                self.functions[function],
                *map(r.parent, names),
                worker=worker,
                outputs={"model": r.new_output(transient=transient)},
            )
            task.key = key
            tasks.append(task)
        before = len(self.model.tasks)
        expected = self.model.register_tasks(plan, news)
        request = t.RegisterTasksParam(tasks=tasks)
        if self.expect("ComputeTaskService/RegisterTasks", request, OWNER, expected):
            self._name_tasks(before, keys, news)

    def _parent(self, number: int, batch: int) -> int:
        """A stored task, or one of the batch (negative), itself included."""
        return -1 - (-1 - number) % batch if number < 0 else number % len(self.tasks)

    def _name_tasks(self, before: int, keys: list[str], news: list[New]) -> None:
        for place in in_order(news):
            self._name(self.tasks, keys[place])
        assert len(self.tasks) == len(self.model.tasks) == before + len(keys)

    def act(self, number: int, action: str, caller: str) -> None:
        number %= len(self.tasks)
        caller = self.model.tasks[number].worker if caller == RIGHT else caller
        request = t.ApplyTaskActionParam(
            compute_task_key=self.tasks[number],
            action=t.ComputeTaskAction.Value(f"TASK_ACTION_{action}"),
        )
        expected = self.model.act(number, action, caller)
        self.expect("ComputeTaskService/ApplyTaskAction", request, caller, expected)

    def register_model(self, number: int, caller: str) -> None:
        number %= len(self.tasks)
        caller = self.model.tasks[number].worker if caller == RIGHT else caller
        request = RegisterModelsParam(models=[r.new_model(self.tasks[number])])
        expected = self.model.register_model(number, caller)
        if self.expect("ModelService/RegisterModels", request, caller, expected):
            self.labels[request.models[0].key] = f"of {number}"

    def disable(self, number: int, caller: str) -> None:
        number %= len(self.tasks)
        caller = self.model.tasks[number].worker if caller == RIGHT else caller
        request = t.DisableOutputParam(compute_task_key=self.tasks[number], identifier="model")
        expected = self.model.disable(number, caller)
        self.expect("ComputeTaskService/DisableOutput", request, caller, expected)

    def report(self, number: int, caller: str) -> None:
        number %= len(self.tasks)
        caller = self.model.tasks[number].worker if caller == RIGHT else caller
        expected = self.model.report_task(number, caller)
        self._report(self.tasks[number], fr.FAILED_ASSET_COMPUTE_TASK, caller, expected)

    def execute(self, number: int) -> None:
        """A task's whole life, by its worker."""
        worker = self.model.tasks[number % len(self.tasks)].worker
        self.act(number, "EXECUTING", worker)
        self.register_model(number, worker)
        self.act(number, "DONE", worker)

    def finish(self, number: int) -> None:
        """Execute and give up what may go."""
        self.execute(number)
        self.disable(number, self.model.tasks[number % len(self.tasks)].worker)

    def _report(self, key: str, kind: Any, caller: str, expected: str) -> None:
        request = fr.NewFailureReport(
            asset_key=key, asset_type=kind, error_type=fr.ERROR_TYPE_INTERNAL
        )
        self.expect("FailureReportService/RegisterFailureReport", request, caller, expected)

    def _name(self, names: list[str], key: str) -> None:
        self.labels[key] = str(len(names))
        names.append(key)


KINDS = {
    "ASSET_FUNCTION": "function",
    "ASSET_COMPUTE_PLAN": "plan",
    "ASSET_COMPUTE_TASK": "task",
    "ASSET_MODEL": "model",
    "ASSET_COMPUTE_TASK_OUTPUT_ASSET": "output of",
}


def line(conversation: Conversation, event: NewEvent) -> str:
    """The event in the words of the reference model."""
    kind = AssetKind.Name(event.kind)
    what = EventKind.Name(event.event).removeprefix("EVENT_ASSET_")
    if kind == "ASSET_FAILURE_REPORT":
        failed = "function" if event.key in conversation.functions else "task"
        return f"report on {conversation.label(failed, event.key)} {what}"
    text = f"{conversation.label(KINDS[kind], event.key)} {what}"
    if event.status is not None:
        text += " " + t.ComputeTaskStatus.Name(event.status).removeprefix("STATUS_")
    return f"{text} slim" if event.slim else text


_STEPS: Mapping[str, Callable[..., None]] = {
    "function": Conversation.function,
    "build": Conversation.build,
    "report function": Conversation.report_function,
    "plan": Conversation.plan,
    "cancel": Conversation.cancel,
    "tasks": Conversation.register,
    "act": Conversation.act,
    "model": Conversation.register_model,
    "disable": Conversation.disable,
    "report": Conversation.report,
    "run": Conversation.execute,
    "finish": Conversation.finish,
}
