"""What the ledger should do, in the fewest words: statuses and events of functions, plans and tasks.

Written from orchestrator.md 6 to 9 and from nothing else, to be compared with the real rules. Assets are
numbers in order of creation; every call returns "ok" or how the refusal's text starts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

SLOT, BUILDING, PARENTS, EXECUTOR = (
    "WAITING_FOR_BUILDER_SLOT",
    "BUILDING",
    "WAITING_FOR_PARENT_TASKS",
    "WAITING_FOR_EXECUTOR_SLOT",
)
OPEN = (SLOT, BUILDING, PARENTS, EXECUTOR, "EXECUTING")
FINAL = ("DONE", "FAILED", "CANCELED")
FROM = {"EXECUTING": (EXECUTOR,), "DONE": ("EXECUTING",), "FAILED": OPEN, "CANCELED": OPEN}
BUILDS = {
    "BUILDING": ("WAITING",),
    "READY": ("BUILDING",),
    "FAILED": ("BUILDING",),
    "CANCELED": ("WAITING", "BUILDING"),
}
OK = "ok"
OWNER = "a"  # of every plan and task


@dataclass
class Function:
    owner: str
    public: bool
    status: str = "WAITING"


@dataclass
class Task:
    plan: int
    function: int
    worker: str
    parents: tuple[int, ...]
    transient: bool
    status: str = ""
    rank: int = 0
    model: str = ""  # "", "stored", "disabled"


@dataclass
class New:
    """A task of a batch; `parents` are numbers of stored tasks, or of this batch as -1, -2, …"""

    function: int
    worker: str
    parents: tuple[int, ...]
    transient: bool


@dataclass
class Reference:
    functions: list[Function] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)  # "", "canceled" or "failed"
    tasks: list[Task] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    # ------------------------------------------------------------------ functions
    def register_function(self, owner: str, *, public: bool) -> str:
        self.functions.append(Function(owner, public))
        return self._tell(f"function {len(self.functions) - 1} CREATED")

    def build(self, number: int, action: str, caller: str) -> str:
        function = self.functions[number]
        if caller != function.owner:
            return "OE0102"
        if function.status not in BUILDS[action]:
            return _illegal(action, f"FUNCTION_STATUS_{function.status}")
        function.status = action
        self._tell(f"function {number} UPDATED")
        for task, one in enumerate(self.tasks):
            if one.function == number and one.status == BUILDING:
                self._follow(task, self._built(one) if action == "READY" else action)
            elif one.function == number and one.status == SLOT and action in (BUILDING, "CANCELED"):
                self._follow(task, action)
        return OK

    def _built(self, task: Task) -> str:
        return EXECUTOR if self._ready(task) else PARENTS

    def _follow(self, task: int, status: str) -> None:
        self.tasks[task].status = status
        self._tell(f"task {task} UPDATED {status} slim")
        if status == "FAILED":
            self._fail_plan(self.tasks[task].plan)

    # ------------------------------------------------------------------ plans
    def register_plan(self) -> str:
        self.plans.append("")
        return self._tell(f"plan {len(self.plans) - 1} CREATED")

    def cancel(self, plan: int, caller: str) -> str:
        if caller != OWNER:
            return "OE0102"
        if self.plans[plan]:
            return "OE0109"
        self.plans[plan] = "canceled"
        return self._tell(f"plan {plan} UPDATED")

    def _fail_plan(self, plan: int) -> None:
        self.plans[plan] = self.plans[plan] or "failed"

    def is_running(self, plan: int) -> bool:
        statuses = {task.status for task in self.tasks if task.plan == plan}
        over = self.plans[plan] or statuses & {"FAILED", "CANCELED"}
        return not over and bool(statuses - {"DONE"})

    # ------------------------------------------------------------------ registration
    def register_tasks(self, plan: int, batch: Sequence[New]) -> str:
        order = in_order(batch)
        if len(order) < len(batch):
            return "OE0101"
        places = {-1 - given: len(self.tasks) + place for place, given in enumerate(order)}
        added: list[Task] = []
        known = list(self.tasks)
        for new in (batch[given] for given in order):
            parents = tuple(dict.fromkeys(places.get(parent, parent) for parent in new.parents))
            task = Task(plan, new.function, new.worker, parents, new.transient)
            refusal = self._refusal(task, known)
            if refusal:
                return refusal
            task.status = self._first(task, [known[parent].status for parent in parents])
            task.rank = max([known[parent].rank + 1 for parent in parents], default=0)
            known.append(task)
            added.append(task)
        for task in added:
            self.tasks.append(task)
            self._tell(f"task {len(self.tasks) - 1} CREATED {task.status}")
            if task.status == "FAILED":
                self._fail_plan(plan)
        return OK

    def _refusal(self, task: Task, known: Sequence[Task]) -> str:
        function = self.functions[task.function]
        if not (function.public or function.owner == OWNER):
            return "OE0102"
        parents = [known[parent] for parent in task.parents]
        lost = any(one.status == "DONE" and one.model == "disabled" for one in parents)
        return "OE0101" if lost else ""

    def _first(self, task: Task, parents: Sequence[str]) -> str:
        if {"FAILED", "CANCELED"} & set(parents):
            return "CANCELED"
        status = self.functions[task.function].status
        if status == "READY":
            return EXECUTOR if set(parents) <= {"DONE"} else PARENTS
        return SLOT if status == "WAITING" else status

    # ------------------------------------------------------------------ tasks
    def act(self, task: int, action: str, caller: str) -> str:
        worker = self.tasks[task].worker
        allowed = (worker,) if action in ("EXECUTING", "DONE") else (OWNER, worker)
        return self._move(task, action) if caller in allowed else "OE0102"

    def _move(self, task: int, status: str) -> str:
        one = self.tasks[task]
        if one.status not in FROM[status]:
            return _illegal(status, f"STATUS_{one.status}")
        one.status = status
        self._tell(f"task {task} UPDATED {status}")
        if status == "FAILED":
            self._fail_plan(one.plan)
        for number, child in enumerate(self.tasks):
            released = status == "DONE" and task in child.parents and child.status == PARENTS
            if released and self._ready(child):
                self._follow(number, EXECUTOR)
        return OK

    def _ready(self, task: Task) -> bool:
        return all(self.tasks[parent].status == "DONE" for parent in task.parents)

    def register_model(self, task: int, caller: str) -> str:
        one = self.tasks[task]
        if caller != one.worker:
            return "OE0102"
        if one.status != "EXECUTING":
            return "OE0003"
        if one.model:
            return "OE0006"
        one.model = "stored"
        self._tell(f"model of {task} CREATED")
        return self._tell(f"output of {task} CREATED")

    def disable(self, task: int, caller: str) -> str:
        one = self.tasks[task]
        if caller != one.worker:
            return "OE0102"
        children = [child.status for child in self.tasks if task in child.parents]
        free = bool(children) and set(children) <= set(FINAL)
        if one.status not in FINAL or not (one.transient and one.model and free):
            return "OE0108"
        if one.model == "stored":
            self._tell(f"model of {task} DISABLED")
        one.model = "disabled"
        return OK

    # ------------------------------------------------------------------ failure reports
    def report_task(self, task: int, caller: str) -> str:
        if caller != self.tasks[task].worker:
            return "OE0102"
        if self.tasks[task].status != "EXECUTING":
            return "OE0003"
        self._move(task, "FAILED")
        return self._tell(f"report on task {task} CREATED")

    def report_function(self, number: int, caller: str) -> str:
        outcome = self.build(number, "FAILED", caller)
        return self._tell(f"report on function {number} CREATED") if outcome == OK else outcome

    def _tell(self, line: str) -> str:
        self.events.append(line)
        return OK


def _illegal(status: str, state: str) -> str:
    return f"event transition{status.capitalize()} inappropriate in current state {state}"


def in_order(batch: Sequence[New]) -> list[int]:
    """Places in the batch, breadth first: a task comes once all its parents of the batch have come."""
    inside = [{-1 - parent for parent in new.parents if parent < 0} for new in batch]
    order = [place for place, parents in enumerate(inside) if not parents]
    for place in order:  # grows while it is walked
        for child, parents in enumerate(inside):
            if place in parents and parents <= set(order) and child not in order:
                order.append(child)
    return order


def settled(lines: Iterable[str]) -> list[str]:
    """Events with each run of a cascade sorted: among the tasks that it moves there is no order to keep."""
    result: list[str] = []
    run: list[str] = []
    for line in [*lines, ""]:
        if line.endswith(" slim"):
            run.append(line)
            continue
        result += [*sorted(run), line]
        run = []
    return result[:-1]
