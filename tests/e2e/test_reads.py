"""Lists, filters and metadata, and the same answers at both organizations."""

from typing import Any

import pytest
import substra
from substra.sdk.models import ComputePlanStatus

from tests.e2e.playground import Data, Playground
from tests.e2e.waiting import wait_for

# What may differ: the host in the addresses, and names of users that only their organization knows.
LOCAL = {"storage_address", "creator", "status", "is_current"}


def masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: masked(inner) for key, inner in value.items() if key not in LOCAL}
    return [masked(inner) for inner in value] if isinstance(value, list) else value


def dumped(assets: list[Any]) -> list[Any]:
    return [masked(asset.model_dump(mode="json")) for asset in assets]


@pytest.fixture(scope="module")
def plan(playground: Playground, data: list[Data]) -> substra.models.ComputePlan:
    tasks = playground.chain(3, data)
    tasks[0].metadata = {"round_idx": "1"}
    submitted = playground.submit(
        tasks, name="to be read", tag="reading", metadata={"colour": "dark blue"}
    )
    assert playground.finish(submitted).status == ComputePlanStatus.done
    wait_for(
        lambda: (
            playground.clients[1].get_compute_plan(submitted.key).status == ComputePlanStatus.done
        ),
        "the other organization knows that the plan is done",
    )
    return submitted


@pytest.mark.parametrize(
    "lister",
    ["list_compute_plan", "list_task", "list_function", "list_dataset", "list_model"],
)
def test_both_organizations_list_the_same(
    playground: Playground, plan: substra.models.ComputePlan, lister: str
) -> None:
    filters = {
        "list_compute_plan": {"key": [plan.key]},
        "list_task": {"compute_plan_key": [plan.key]},
        "list_function": {"compute_plan_key": [plan.key]},
        "list_dataset": {"compute_plan_key": [plan.key]},
        "list_model": {"owner": [playground.organizations[0]]},
    }[lister]
    first, second = (dumped(getattr(c, lister)(filters=filters)) for c in playground.clients)
    assert first
    assert first == second


def test_plan_is_found_by_name_status_and_metadata(
    playground: Playground, plan: substra.models.ComputePlan
) -> None:
    client = playground.clients[1]
    for filters in (
        {"name": "to be re"},
        {"key": [plan.key], "status": ["PLAN_STATUS_DONE"]},
        {"metadata": [{"key": "colour", "type": "exists"}]},
        {"worker": [playground.organizations[1]], "key": [plan.key]},
    ):
        found = client.list_compute_plan(filters=filters)
        assert [candidate.key for candidate in found] == [plan.key], filters
    none = client.list_compute_plan(filters={"key": [plan.key], "status": ["PLAN_STATUS_FAILED"]})
    assert none == []


def test_tasks_are_found_by_worker_and_metadata(
    playground: Playground, plan: substra.models.ComputePlan
) -> None:
    client = playground.clients[0]
    by_worker = client.list_task(
        filters={"compute_plan_key": [plan.key], "worker": [playground.organizations[1]]}
    )
    assert [task.rank for task in by_worker] == [1]
    by_round = client.list_task(
        filters={
            "compute_plan_key": [plan.key],
            "metadata": [{"key": "round_idx", "type": "is", "value": "1"}],
        }
    )
    assert [task.rank for task in by_round] == [0]


def test_plan_keeps_its_tag_and_metadata(
    playground: Playground, plan: substra.models.ComputePlan
) -> None:
    seen = playground.clients[1].get_compute_plan(plan.key)
    assert (seen.tag, seen.metadata["colour"]) == ("reading", "dark blue")
    assert seen.creator == "external"
    assert playground.clients[0].get_compute_plan(plan.key).creator == "org-1"


@pytest.mark.parametrize("metadata", [{"k" * 101: "v"}, {"key": "v" * 101}, {"two__bars": "value"}])
def test_bad_metadata_is_refused_and_leaves_nothing(
    playground: Playground, data: list[Data], metadata: dict[str, str]
) -> None:
    before = len(playground.clients[0].list_compute_plan())
    tasks = playground.chain(1, data)
    with pytest.raises(substra.exceptions.InvalidRequest):
        playground.submit(tasks, metadata=metadata)
    assert len(playground.clients[0].list_compute_plan()) == before


def test_dataset_knows_its_samples_at_once(playground: Playground, data: list[Data]) -> None:
    seen = playground.clients[0].get_dataset(data[0].dataset)
    assert sorted(seen.data_sample_keys) == sorted(data[0].samples)
    assert {sample.key for sample in playground.clients[1].list_data_sample()} >= set(
        data[0].samples
    )


def test_organizations_know_each_other(playground: Playground) -> None:
    for index, client in enumerate(playground.clients):
        known = client.list_organization()
        assert {one.id for one in known} >= set(playground.organizations)
        assert [one.id for one in known if one.is_current] == [playground.organizations[index]]
        assert client.organization_info().config.model_export_enabled
