"""Ray's Jobs API over HTTP, against a scripted head."""

from collections.abc import Callable

import pytest

from backend.engine.compute.cluster.jobs import Job, Jobs, JobsUnavailable
from backend.engine.compute.cluster.planning import Phase
from tests.unit.kuberay.api_server import Answer, ApiServer, Request


def head(answer: Callable[[Request], Answer]) -> ApiServer:
    return ApiServer(answer)


def test_a_session_is_submitted_with_its_image_and_resource() -> None:
    with head(lambda _: Answer(body={"submission_id": "s"})) as server:
        Jobs(server.url).submit(
            "s",
            "python -m x",
            resources={"fn-a": 1},
            runtime_env={"substra_image": "i"},
            metadata={"k": "v"},
        )
        (request,) = server.requests
        assert (request.method, request.path) == ("POST", "/api/jobs/")
        assert request.body == {
            "submission_id": "s",
            "entrypoint": "python -m x",
            "entrypoint_resources": {"fn-a": 1},
            "runtime_env": {"substra_image": "i"},
            "metadata": {"k": "v"},
        }


def test_a_job_that_is_there_already_was_submitted() -> None:
    refused = Answer(500, "Job with submission_id s already exists.")
    with head(lambda _: refused) as server:
        Jobs(server.url).submit("s", "x", resources={}, runtime_env={}, metadata={})
        assert len(server.requests) == 1


def test_a_refusal_is_told() -> None:
    with head(lambda _: Answer(500, "no such plugin")) as server:
        with pytest.raises(JobsUnavailable, match="no such plugin"):
            Jobs(server.url).submit("s", "x", resources={}, runtime_env={}, metadata={})
        with pytest.raises(JobsUnavailable):
            Jobs(server.url).all()


def test_jobs_tell_their_pod_and_drivers_are_no_jobs() -> None:
    listed = [
        {
            "submission_id": "a",
            "status": "RUNNING",
            "message": None,
            "metadata": {"k": "v"},
            "driver_agent_http_address": "http://10.1.2.3:52365",
        },
        {"submission_id": None, "status": "RUNNING", "type": "DRIVER"},
        {"submission_id": "b", "status": "PENDING"},
    ]
    with head(lambda _: Answer(body=listed)) as server:
        assert Jobs(server.url).all() == [
            Job("a", "RUNNING", "", {"k": "v"}, "10.1.2.3"),
            Job("b", "PENDING", "", {}, None),
        ]


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("PENDING", Phase.PENDING),
        ("RUNNING", Phase.RUNNING),
        ("STOPPED", Phase.ENDED),
        ("SUCCEEDED", Phase.ENDED),
        ("FAILED", Phase.ENDED),
    ],
)
def test_a_status_is_a_phase(status: str, phase: Phase) -> None:
    assert Job("a", status, "", {}, None).phase is phase


def test_a_token_that_was_changed_is_read_again() -> None:
    tokens = iter(["old", "new"])

    refused = Answer(401, {})
    with head(lambda r: Answer(body=[]) if r.authorization == "Bearer new" else refused) as server:
        jobs = Jobs(server.url, lambda: next(tokens))
        assert jobs.all() == []
        assert jobs.all() == []
        assert [r.authorization for r in server.requests] == [
            "Bearer old",
            "Bearer new",
            "Bearer new",
        ]


def test_forgetting_says_whether_the_job_had_ended() -> None:
    statuses = {"/api/jobs/done": 200, "/api/jobs/gone": 404, "/api/jobs/runs": 400}
    with head(lambda request: Answer(statuses[request.path], {})) as server:
        jobs = Jobs(server.url)
        assert [jobs.forget(id) for id in ("done", "gone", "runs")] == [True, True, False]  # noqa: A001


def test_a_head_that_is_away_is_unavailable() -> None:
    with head(lambda _: Answer(body=[])) as server:
        jobs = Jobs(server.url, timeout_s=2)
    with pytest.raises(JobsUnavailable, match="does not answer"):
        jobs.all()


def test_a_log_is_text_or_nothing() -> None:
    known, unknown = Answer(body={"logs": "hello"}), Answer(404, {})
    with head(lambda r: known if r.path == "/api/jobs/a/logs" else unknown) as server:
        jobs = Jobs(server.url)
        assert (jobs.log("a"), jobs.log("b")) == ("hello", "")
        jobs.stop("a")
        assert server.requests[-1].path == "/api/jobs/a/stop"
