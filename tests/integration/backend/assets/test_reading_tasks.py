"""What users read of tasks and of their assets; shapes are those of the SDK."""

import httpx
import pytest
from substra.sdk import models as sdk

from backend.fixtures.story import DONE, EXECUTING, ORG_2, WAITING_FOR_EXECUTOR_SLOT, Story, key
from protos.orchestrator import common_pb2

from .conftest import Tell
from .test_apply import trained
from .test_reading import P, results

NAMES = ["a", "b", "both", "score", "never", "too late", "stopped"]


@pytest.fixture
def told(tell: Tell, user: httpx.Client) -> httpx.Client:
    tell(trained().events)
    return user


def with_data() -> Story:
    story = Story()
    story.data_manager("opener")
    story.data_sample("sample 1", "opener")
    story.data_sample("sample 2", "opener")
    story.function(
        "train",
        inputs=[
            ("opener", common_pb2.ASSET_DATA_MANAGER),
            ("datasamples", common_pb2.ASSET_DATA_SAMPLE),
            ("shared", common_pb2.ASSET_MODEL),
        ],
        outputs=[("model", common_pb2.ASSET_MODEL), ("performance", common_pb2.ASSET_PERFORMANCE)],
    )
    story.plan("plan")
    story.task("parent", "plan", "train", status=WAITING_FOR_EXECUTOR_SLOT)
    story.task(
        "child",
        "plan",
        "train",
        parents=[("parent", "model")],
        assets=[("opener", "opener"), ("datasamples", "sample 2"), ("datasamples", "sample 1")],
        outputs=["model", "performance"],
        rank=1,
    )
    return story


def test_task_is_what_the_sdk_reads(told: httpx.Client) -> None:
    answer = told.get(f"{P}/task/{key('both')}/").json()
    task = sdk.Task(**answer)
    assert task.status == sdk.ComputeTaskStatus.done
    assert task.function.name == "train"
    assert [entry.parent_task_key for entry in task.inputs] == [key("a"), key("b")]
    assert answer["inputs"][0] == {
        "identifier": "shared",
        "asset_key": None,
        "parent_task_key": key("a"),
        "parent_task_output_identifier": "model",
    }
    assert task.outputs["model"].permissions.process.authorized_ids == ["MyOrg1MSP", "MyOrg2MSP"]
    assert (task.rank, task.tag, task.error_type) == (1, "", None)
    assert task.start_date is not None
    assert task.end_date is not None
    assert answer["duration"] == int((task.end_date - task.start_date).total_seconds())


def test_tag_is_no_metadata(told: httpx.Client) -> None:
    answer = told.get(f"{P}/task/{key('a')}/").json()
    assert (answer["tag"], answer["metadata"]) == ("first", {"round_idx": "1"})


def test_failed_build_is_the_error_of_its_tasks(told: httpx.Client) -> None:
    for name in ("never", "too late"):
        task = sdk.Task(**told.get(f"{P}/task/{key(name)}/").json())
        assert task.error_type == sdk.TaskErrorType.build


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({}, NAMES),
        ({"ordering": "-creation_date"}, NAMES[::-1]),
        ({"ordering": "-rank,creation_date"}, ["score", "both", "a", "b", *NAMES[4:]]),
        (
            {"ordering": "function__name,creation_date"},
            ["never", "too late", "score", *"ab", "both", "stopped"],
        ),
        ({"worker": ORG_2}, ["b"]),
        ({"rank": "1,2"}, ["both", "score"]),
        ({"status": "STATUS_FAILED"}, ["never", "too late"]),
        ({"tag": "first"}, ["a"]),
        ({"metadata": '[{"key":"round_idx","type":"contains","value":"1"}]'}, ["a"]),
        ({"function_key": key("test")}, ["score"]),
        ({"compute_plan_key": f"{key('second')},{key('third')}"}, NAMES[4:]),
        ({"key": key("a")}, ["a"]),
        ({"match": key("a")[:13]}, ["a"]),
        ({"end_date_after": "2027-01-01"}, []),
        ({"rank": "99999999999"}, []),
    ],
)
def test_tasks_are_filtered_and_ordered(
    told: httpx.Client, parameters: dict[str, str], names: list[str]
) -> None:
    found = results(told, "/task/", **parameters)
    assert [task["key"] for task in found] == [key(name) for name in names]


def test_tasks_of_a_plan_page_by_page(told: httpx.Client) -> None:
    path = f"{P}/compute_plan/{key('plan')}/task/?page_size=3&ordering=-rank"
    first = told.get(path).json()
    assert (first["count"], len(first["results"]), first["previous"]) == (4, 3, None)
    second = told.get(first["next"] + "&ordering=-rank").json()
    assert (len(second["results"]), second["next"]) == (1, None)
    assert told.get(f"{P}/compute_plan/{key('nobody')}/task/").json()["count"] == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/task/?rank=x", 400),
        ("/task/?key=x", 400),
        ("/task/?function_key=x", 400),
        ("/task/?compute_plan_key=x", 400),
        ("/task/?status=x", 400),
        ("/task/?page=9", 404),
        ("/compute_plan/x/task/", 400),
        ("/task/x/", 404),
        (f"/task/{key('nobody')}/", 404),
        ("/task/x/input_assets/", 400),
        ("/task/x/output_assets/", 400),
    ],
)
def test_malformed_or_unknown(told: httpx.Client, path: str, status: int) -> None:
    answer = told.get(P + path)
    assert answer.status_code == status, answer.text
    assert answer.json()


def test_inputs_appear_once_they_exist(tell: Tell, user: httpx.Client) -> None:
    story = with_data()
    tell(story.events)
    path = f"/task/{key('child')}/input_assets/"
    found = results(user, path)
    assert [entry["identifier"] for entry in found] == ["datasamples", "datasamples", "opener"]
    assert [entry["asset"]["key"] for entry in found] == [  # type: ignore[index]
        key("sample 2"),
        key("sample 1"),
        key("opener"),
    ]
    assert "data_sample_keys" not in found[2]["asset"]  # type: ignore[operator]
    for name in ("one", "two"):
        story.model(name, "parent")
    tell(story.events)
    found = [sdk.InputAsset(**entry) for entry in results(user, path)]
    assert [entry.identifier for entry in found][3:] == ["shared", "shared"]  # type: ignore[attr-defined]
    assert [entry.asset.key for entry in found][3:] == [key("one"), key("two")]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"kind": "ASSET_MODEL,ASSET_DATA_MANAGER,ASSET_PERFORMANCE"}, 1),
        ({"kind": "ASSET_DATA_SAMPLE"}, 2),
        ({"kind": "nonsense"}, 3),
        ({"identifier": "opener"}, 1),
        ({"identifier": "unknown"}, 0),
        ({"page_size": "2"}, 2),
    ],
)
def test_asset_lists_are_filtered(
    tell: Tell, user: httpx.Client, parameters: dict[str, str], count: int
) -> None:
    tell(with_data().events)
    assert len(results(user, f"/task/{key('child')}/input_assets/", **parameters)) == count


def test_outputs_of_a_task(tell: Tell, user: httpx.Client) -> None:
    story = with_data()
    story.moves("child", WAITING_FOR_EXECUTOR_SLOT, EXECUTING)
    story.performance("child", 0.75)
    story.model("made", "child")
    story.moves("child", DONE)
    tell(story.events)
    path = f"/task/{key('child')}/output_assets/"
    found = [sdk.OutputAsset(**entry) for entry in results(user, path)]
    assert [(entry.identifier, entry.kind) for entry in found] == [
        ("model", "ASSET_MODEL"),
        ("performance", "ASSET_PERFORMANCE"),
    ]
    assert found[0].asset.key == key("made")
    assert found[1].asset == 0.75
    (performance,) = results(user, path, identifier="performance")
    assert performance["asset"]["channel"] == "mychannel"  # type: ignore[index]
    assert results(user, f"/task/{key('nobody')}/output_assets/") == []
