"""Lists that are polled: what did not change is not sent again, what is sent may be packed."""

import httpx
import pytest

from backend.fixtures.story import EXECUTING, key

from .conftest import Tell
from .test_apply import trained

P = "/org-1"
POLLED = [
    *(f"/{name}/" for name in ("function", "data_manager", "data_sample", "compute_plan", "task")),
    *(f"/{name}/" for name in ("model", "performance", "news_feed", "task_profiling", "users")),
    "/compute_plan_metadata/",
    *(f"/compute_plan/{key('plan')}/{name}/" for name in ("task", "functions", "perf")),
    f"/compute_plan/{key('plan')}/workflow_graph/",
    *(f"/task/{key('both')}/{name}/" for name in ("input_assets", "output_assets")),
    *("/info/", "/organization/", f"/compute_plan/{key('plan')}/", f"/task/{key('both')}/"),
    *(f"/function/{key('train')}/", f"/function/{key('train')}/profiling/"),
]


@pytest.mark.parametrize("path", POLLED)
def test_what_did_not_change_is_not_sent_again(tell: Tell, user: httpx.Client, path: str) -> None:
    tell(trained().events)
    first = user.get(P + path)
    assert first.status_code == 200, first.text
    tag = first.headers["ETag"]
    again = user.get(P + path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    head = user.head(P + path)
    assert (head.status_code, head.content, head.headers["ETag"]) == (200, b"", tag)


def test_what_changed_is_sent(tell: Tell, user: httpx.Client) -> None:
    story = trained()
    story.plan("fourth")
    story.task("new", "fourth", "train")
    tell(story.take())
    path = f"{P}/compute_plan/{key('fourth')}/task/"
    tag = user.get(path).headers["ETag"]
    story.moves("new", EXECUTING)
    tell(story.take())
    answer = user.get(path, headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.json()["results"][0]["status"] == "STATUS_EXECUTING"


def test_answers_are_packed_for_who_asks(tell: Tell, user: httpx.Client) -> None:
    tell(trained().events)
    plain = user.get(f"{P}/task/", headers={"Accept-Encoding": "identity"})
    packed = user.get(f"{P}/task/", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.json() == plain.json()
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 3


def test_stranger_with_a_tag_is_still_a_stranger(tell: Tell, user: httpx.Client) -> None:
    tell(trained().events)
    tag = user.get(f"{P}/task/").headers["ETag"]
    headers = {"If-None-Match": tag, "Authorization": "Token " + "0" * 40}
    assert user.get(f"{P}/task/", headers=headers).status_code == 401
