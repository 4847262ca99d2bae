"""Reading, patching and watching, against a scripted API server."""

import time
from collections.abc import Callable, Iterator

import pytest

from kuberay.errors import Conflict, Deadline, Forbidden, Invalid, NotFound, Unavailable
from kuberay.resources import RAY_CLUSTERS, Resource
from kuberay.shapes import RayCluster
from tests.unit.kuberay.api_server import Answer, ApiServer, Request, item, status

PATH = "/apis/ray.io/v1/namespaces/here/rayclusters"


def clusters(server: ApiServer) -> Resource[RayCluster]:
    return Resource(server.connection, RAY_CLUSTERS, "here")


def scripted(*answers: Answer) -> Callable[[Request], Answer]:
    """One answer a request, in order; the last one again and again."""
    left = list(answers)
    return lambda _request: left.pop(0) if len(left) > 1 else left[0]


def listed(*items: dict[str, object], version: int = 10, more: str = "") -> Answer:
    return Answer(
        body={"metadata": {"resourceVersion": str(version), "continue": more}, "items": items}
    )


def unchanging(request: Request) -> Answer:
    """An object `a` to which nothing happens."""
    if request.path == f"{PATH}/a":
        return Answer(body=item("a", 5))
    return Answer(stream=[]) if "watch" in request.query else listed(item("a", 5))


def changing(versions: Iterator[int], accepted: str) -> Callable[[Request], Answer]:
    """An object `a` whose version moves; patches of the version `accepted` are taken."""

    def answer(request: Request) -> Answer:
        if request.method == "GET":
            return Answer(body=item("a", next(versions)))
        taken = request.body[0]["value"] == accepted
        return Answer(body=item("a", 9)) if taken else status(422, "Invalid")

    return answer


def change(kind: str, name: str, version: int) -> dict[str, object]:
    return {"type": kind, "object": item(name, version)}


def test_find_answers_none_where_get_raises() -> None:
    with ApiServer(scripted(status(404, "NotFound"))) as server:
        assert clusters(server).find("a") is None
        with pytest.raises(NotFound):
            clusters(server).get("a")
        assert server.requests[0].path == f"{PATH}/a"


def test_names_cannot_leave_their_place() -> None:
    with ApiServer(scripted(status(404, "NotFound"))) as server:
        assert clusters(server).find("a/../../b") is None
        assert server.requests[0].path == f"{PATH}/a%2F..%2F..%2Fb"
        with pytest.raises(ValueError, match="name"):
            clusters(server).get("")


def test_all_reads_every_page() -> None:
    answers = scripted(listed(item("a", 1), more="next"), listed(item("b", 2)))
    with ApiServer(answers) as server:
        found = clusters(server).all({"app": "x", "tier": "y"})
        assert [each["metadata"]["name"] for each in found] == ["a", "b"]
        assert server.requests[0].query["labelSelector"] == "app=x,tier=y"
        assert server.requests[1].query["continue"] == "next"


def test_apply_says_kind_and_manager() -> None:
    with ApiServer(scripted(Answer(body=item("a", 2)))) as server:
        body: RayCluster = {"metadata": {"name": "a"}, "spec": {}}  # type: ignore[typeddict-item]
        clusters(server).apply(body, manager="me", force=True)
        (request,) = server.requests
        assert request.content_type == "application/apply-patch+yaml"
        assert request.query == {"fieldManager": "me", "force": "true"}
        assert (request.body["apiVersion"], request.body["kind"]) == ("ray.io/v1", "RayCluster")


def test_a_patch_tests_the_version_that_was_seen() -> None:
    with ApiServer(scripted(Answer(body=item("a", 8)))) as server:
        seen: RayCluster = item("a", 7)  # type: ignore[assignment]
        clusters(server).patch(seen, [{"op": "remove", "path": "/spec/x"}])
        assert server.requests[0].body == [
            {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
            {"op": "remove", "path": "/spec/x"},
        ]


def test_a_patch_of_an_older_object_is_a_conflict() -> None:
    with ApiServer(scripted(status(422, "Invalid"), Answer(body=item("a", 8)))) as server:
        seen: RayCluster = item("a", 7)  # type: ignore[assignment]
        with pytest.raises(Conflict):
            clusters(server).patch(seen, [])


def test_a_bad_patch_of_the_newest_object_is_invalid() -> None:
    with ApiServer(scripted(status(422, "Invalid"), Answer(body=item("a", 7)))) as server:
        seen: RayCluster = item("a", 7)  # type: ignore[assignment]
        with pytest.raises(Invalid):
            clusters(server).patch(seen, [])


def test_a_change_is_decided_again_after_a_conflict() -> None:
    decided = []
    with ApiServer(changing(iter([7, 8, 8, 9]), "8")) as server:
        done = clusters(server).change(
            "a",
            lambda seen: (
                decided.append(seen["metadata"]["resourceVersion"])  # type: ignore[func-returns-value]
                or [{"op": "add", "path": "/x", "value": 1}]
            ),
        )
        assert decided == ["7", "8"]
        assert done["metadata"]["resourceVersion"] == "9"


def test_a_change_that_is_none_sends_nothing() -> None:
    with ApiServer(scripted(Answer(body=item("a", 1)))) as server:
        clusters(server).change("a", lambda _seen: [])
        assert [request.method for request in server.requests] == ["GET"]


def test_delete_names_the_object_it_means() -> None:
    with ApiServer(scripted(Answer(body={}), status(404, "NotFound"))) as server:
        assert clusters(server).delete("a", uid="u", grace_s=0) is True
        assert server.requests[0].body == {
            "propagationPolicy": "Background",
            "preconditions": {"uid": "u"},
            "gracePeriodSeconds": 0,
        }
        assert clusters(server).delete("a") is False


def test_what_is_not_allowed_says_so() -> None:
    with (
        ApiServer(scripted(status(403, "Forbidden", "user x cannot get"))) as server,
        pytest.raises(Forbidden, match="user x cannot get"),
    ):
        clusters(server).get("a")


def test_no_server_is_unavailable() -> None:
    with ApiServer(scripted(listed())) as server:
        resource = clusters(server)
    with pytest.raises(Unavailable):
        resource.get("a")


def collected(server: ApiServer, most: int) -> list[tuple[str, str]]:
    """The first `most` events."""
    events: list[tuple[str, str]] = []
    for event in clusters(server).watch(for_s=20):
        events.append((event.type, event.object["metadata"]["name"]))
        if len(events) == most:
            break
    return events


def test_a_watch_begins_with_what_is_there() -> None:
    stream = Answer(stream=[change("MODIFIED", "a", 11), change("DELETED", "a", 12)])
    with ApiServer(scripted(listed(item("a", 5)), stream)) as server:
        assert collected(server, 3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
        assert server.requests[1].query["resourceVersion"] == "10"
        assert server.requests[1].query["watch"] == "true"


@pytest.mark.parametrize("broken", [False, True])
def test_a_stream_that_ended_is_resumed_where_it_was(broken: bool) -> None:
    first = Answer(
        stream=[change("ADDED", "a", 11), {"type": "BOOKMARK", "object": item("", 20)}],
        broken=broken,
    )
    with ApiServer(scripted(listed(), first, Answer(stream=[change("ADDED", "b", 21)]))) as server:
        assert collected(server, 2) == [("ADDED", "a"), ("ADDED", "b")]
        assert [r.query.get("resourceVersion") for r in server.requests] == [None, "10", "20"]


@pytest.mark.parametrize(
    "forgotten",
    [
        Answer(stream=[{"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}]),
        status(410, "Expired"),
    ],
)
def test_a_forgotten_point_is_found_again_by_a_new_list(forgotten: Answer) -> None:
    answers = scripted(
        listed(item("gone", 1), item("same", 2), item("changed", 3)),
        forgotten,
        listed(item("same", 2), item("changed", 30), item("new", 31), version=40),
        Answer(stream=[change("MODIFIED", "new", 41)]),
    )
    with ApiServer(answers) as server:
        assert collected(server, 7)[3:] == [
            ("DELETED", "gone"),
            ("MODIFIED", "changed"),
            ("ADDED", "new"),
            ("MODIFIED", "new"),
        ]
        assert server.requests[-1].query["resourceVersion"] == "40"


def test_a_watch_waits_for_a_server_that_is_away() -> None:
    answers = scripted(status(503, ""), status(500, "InternalError"), listed(item("a", 1)))
    with ApiServer(answers) as server:
        assert collected(server, 1) == [("ADDED", "a")]


def test_a_watch_ends_when_it_is_stopped() -> None:
    with ApiServer(scripted(listed(), Answer(stream=[]))) as server:
        events = list(clusters(server).watch(stopped=lambda: len(server.requests) > 3))
        assert events == []
        assert len(server.requests) > 3


def test_wait_gives_what_it_waited_for() -> None:
    stream = Answer(stream=[change("MODIFIED", "a", 11)])
    answers = scripted(Answer(body=item("a", 5)), listed(item("a", 5)), stream)
    with ApiServer(answers) as server:
        found = clusters(server).wait(
            "a", lambda o: o is not None and o["metadata"]["resourceVersion"] == "11", for_s=10
        )
        assert found is not None
        assert server.requests[1].query["fieldSelector"] == "metadata.name=a"


def test_wait_gone_ends_when_another_took_the_name() -> None:
    with ApiServer(scripted(Answer(body=item("a", 5)))) as server:
        clusters(server).wait_gone("a", for_s=5, uid="an-older-one")
        assert len(server.requests) == 1


def test_waiting_in_vain_has_a_deadline() -> None:
    began = time.monotonic()
    with ApiServer(unchanging) as server, pytest.raises(Deadline, match="the end of RayCluster a"):
        clusters(server).wait_gone("a", for_s=0.5)
    assert time.monotonic() - began < 5
