"""Calls that are decided in one group: each on the state that its predecessors in the group left (rule 7)."""

from collections.abc import Sequence

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import state, writer
from orchestrator.errors import Refusal
from orchestrator.events import Event
from protos.orchestrator import computetask_pb2 as t
from protos.orchestrator.datasample_pb2 import RegisterDataSamplesParam
from tests.integration.orchestrator.desk import Desk, desk
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.budget import budget
from tests.unit.orchestrator.reference import OK, settled
from tests.unit.orchestrator.scripts import SCRIPTS, Conversation, Step, line


class Letters(Conversation):
    """A conversation whose answers are read later."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(lambda *_: OK)
        self._desk = desk
        self.expected: list[tuple[int, str, str]] = []

    def expect(self, rpc: str, request: Message, by: str, expected: str) -> bool:
        self.expected.append((self._desk.send(rpc, request, by), rpc, expected))
        return expected == OK


def test_calls_of_one_group_are_decided_one_after_the_other(database_url: str) -> None:
    with desk(database_url) as office:

        @budget(60)
        @given(SCRIPTS, st.booleans())
        def correspond(script: list[Step], together: bool) -> None:
            office.events.clear()
            letters = Letters(office)
            if together:
                with office.held():
                    letters.run(script)
            else:
                letters.run(script)
            for number, rpc, expected in letters.expected:
                text = _text(office.wait(number))
                assert text.startswith(expected), f"{rpc}: {text!r} in place of {expected!r}"
            _compare(letters, office.events)

        correspond()
        assert office.outcomes


def _compare(letters: Letters, events: Sequence[Event]) -> None:
    positions = [event.position for event in events]
    assert positions == list(range(positions[0], positions[0] + len(positions)))
    ours = [event.new for event in events if event.new.key in letters.labels]
    assert settled(line(letters, event) for event in ours) == settled(letters.model.events)


def _text(outcome: object) -> str:
    return str(outcome) if isinstance(outcome, Refusal) else OK


def test_a_task_on_a_function_of_the_same_group_finds_its_data(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function says what the keys are, and it is not stored yet when the group's rows are fetched."""
    monkeypatch.setattr(state, "KEPT", 0)
    with desk(database_url) as office:
        plan, manager = r.new_plan(), r.new_data_manager()
        sample = r.new_data_sample(manager.key)
        samples = RegisterDataSamplesParam(samples=[sample])
        office.wait(office.send("ComputePlanService/RegisterPlan", plan, "a"))
        office.wait(office.send("DataManagerService/RegisterDataManager", manager, "b"))
        office.wait(office.send("DataSampleService/RegisterDataSamples", samples, "b"))
        function = r.new_function(inputs=r.TRAIN_INPUTS)
        data = [r.asset("opener", manager.key), r.asset("samples", sample.key)]
        tasks = t.RegisterTasksParam(tasks=[r.new_task(plan.key, function.key, *data)])
        with office.held():
            calls = [
                office.send("FunctionService/RegisterFunction", function, "a"),
                office.send("ComputeTaskService/RegisterTasks", tasks, "a"),
            ]
        assert [_text(office.wait(call)) for call in calls] == [OK, OK]


@pytest.mark.parametrize(
    ("bound", "most", "groups"),
    [("GROUP_PARTS", 4, [1, 4, 4, 2]), ("GROUP_EVENTS", 3, [1, 3, 3, 3, 1])],
)
def test_a_group_ends_when_it_has_enough_to_do(
    database_url: str, monkeypatch: pytest.MonkeyPatch, bound: str, most: int, groups: list[int]
) -> None:
    """What is put back keeps its place, so that nobody waits long for a big group."""
    monkeypatch.setattr(writer, bound, most)
    plans = [r.new_plan() for _ in range(10)]
    with desk(database_url) as office:
        office.groups.clear()
        with office.held():
            calls = [office.send("ComputePlanService/RegisterPlan", plan, "a") for plan in plans]
        assert [_text(office.wait(call)) for call in calls] == [OK] * 10
        assert office.groups == groups
        assert [event.new.key for event in office.events][1:] == [plan.key for plan in plans]
        assert office.writer.waiting_bytes == 0


def test_a_large_call_is_a_group_of_its_own(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "GROUP_PARTS", 5)
    samples = [
        RegisterDataSamplesParam(samples=[r.new_data_sample() for _ in range(n)])
        for n in (2, 9, 2, 3)
    ]
    with desk(database_url) as office:
        office.groups.clear()
        with office.held():
            calls = [office.send("DataSampleService/RegisterDataSamples", s, "a") for s in samples]
        assert [_text(office.wait(call)) for call in calls] == [OK] * 4
        assert office.groups == [1, 1, 1, 2]
