"""What an organization tells about its queue, over HTTP."""

from typing import Any
from uuid import UUID, uuid4

import httpx

from backend.engine.images.transfer import ImageForGood
from backend.kit.errors import PeerUnreachable
from tests.integration.backend.engine.world import IMAGE, OTHER, World, eventually

MODEL = "ASSET_MODEL"


def told(api: httpx.Client, task: UUID) -> dict[str, Any]:
    answer = api.get(f"/task/{task}/queue/")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_ready_tasks_have_places_and_their_child_waits_for_them(
    world: World, api: httpx.Client
) -> None:
    function, plan = world.function(inputs={"shared": MODEL}), world.plan()
    tasks = [world.task(plan, function) for _ in range(3)]
    child = world.task(plan, function, parents={"shared": (str(tasks[2]), "model")})
    eventually(lambda: world.work_state(tasks[2]) == "ready", "prepared")
    places = [told(api, task) for task in tasks]
    assert [found["position"] for found in places] == [1, 2, 3]
    assert [found["reason"] for found in places] == [
        "it is next",
        "tasks before it: 1",
        "tasks before it: 2",
    ]
    eventually(lambda: world.row_status(child) is not None, "the event")
    assert told(api, child)["reason"] == "it waits for 1 of 1 parent tasks"
    session = world.session()
    world.lease(session)
    running = told(api, tasks[0])
    assert (running["state"], running["position"], running["attempts"]) == ("leased", None, 1)
    plans = api.get("/queue/").json()["plans"]
    assert [(row["running"], row["ready"]) for row in plans] == [(1, 2)]


def test_a_task_that_waits_for_an_image_says_why_and_how_often_it_was_tried(
    world: World, api: httpx.Client
) -> None:
    world.images.refused[IMAGE] = PeerUnreachable()
    task = world.task(world.plan(), world.function())
    eventually(lambda: world.row_status(task) is not None, "the event")
    found = eventually(
        lambda: told(api, task) if told(api, task)["tries"] >= 2 else None, "tried twice"
    )
    assert "cannot be reached" in found["reason"]
    assert "cannot be reached" in found["last_error"]
    trouble = api.get("/queue/").json()["trouble"]
    assert [row["key"] for row in trouble] == [str(task)]
    world.images.refused[IMAGE] = ImageForGood("refused")
    eventually(lambda: world.status(task) == "STATUS_FAILED", "given up")


def test_a_function_that_is_not_built_shows_in_the_queue(world: World, api: httpx.Client) -> None:
    first, second = world.function(ready=False), world.function(ready=False)
    task = world.task(world.plan(), second)
    eventually(lambda: world.row_status(task) is not None, "the event")
    eventually(lambda: world.work_state(second, "build") == "new", "the build")
    assert told(api, task)["reason"] == "its function waits to be built; builds before it: 1"
    builds = api.get("/queue/").json()["builds"]
    assert [row["key"] for row in builds] == [first, second]


def test_a_stranger_and_an_unknown_task_are_refused(world: World, api: httpx.Client) -> None:
    assert api.get(f"/task/{uuid4()}/queue/").status_code == 404
    assert api.get("/task/nonsense/queue/").status_code == 400
    token = api.headers.pop("Authorization")
    assert api.get(f"/task/{uuid4()}/queue/").status_code == 401
    assert api.get("/queue/").status_code == 401
    api.headers["Authorization"] = token


def test_the_worker_is_asked_about_its_own_task(world: World, api: httpx.Client) -> None:
    task = world.task(world.plan(), world.function(), worker=OTHER)
    eventually(lambda: world.row_status(task) is not None, "the event")
    answer = api.get(f"/task/{task}/queue/")
    assert answer.status_code == 504  # nobody is there in this test
    assert "cannot be reached" in answer.json()["detail"]
