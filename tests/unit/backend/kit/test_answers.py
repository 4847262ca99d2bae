"""Answers that are polled: a tag for the same bytes, 304 for who has them, gzip for who asks."""

import gzip

import pytest
from fastapi import Request

from backend.kit.answers import polled

LONG = {"results": [f"entry {n}" for n in range(500)]}


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


def test_same_content_has_the_same_tag_and_other_content_another() -> None:
    tag = polled(request(), LONG).headers["ETag"]
    assert tag == polled(request(accept_encoding="gzip"), dict(LONG)).headers["ETag"]
    assert tag != polled(request(), {"results": []}).headers["ETag"]


@pytest.mark.parametrize("condition", ["{tag}", '"other", {tag}', "*", "{strong}"])
def test_who_has_the_answer_gets_no_body(condition: str) -> None:
    tag = polled(request(), LONG).headers["ETag"]
    given = condition.format(tag=tag, strong=tag.removeprefix("W/"))
    answer = polled(request(if_none_match=given), LONG)
    assert (answer.status_code, answer.body) == (304, b"")
    assert answer.headers["ETag"] == tag


@pytest.mark.parametrize("condition", ["", '"other"', "nonsense", 'W/"'])
def test_who_has_another_answer_gets_this_one(condition: str) -> None:
    assert polled(request(if_none_match=condition), LONG).status_code == 200


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip, deflate", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("deflate", False),
        ("gzipped", False),
        ("", False),
    ],
)
def test_answer_is_packed_when_asked(accepted: str, packed: bool) -> None:
    plain = polled(request(), LONG)
    answer = polled(request(accept_encoding=accepted), LONG)
    assert (answer.headers.get("Content-Encoding") == "gzip") is packed
    body = bytes(answer.body)
    assert (gzip.decompress(body) if packed else body) == plain.body
    assert answer.headers["Content-Length"] == str(len(body))
    assert answer.headers["Content-Type"] == "application/json"


def test_short_answer_is_never_packed() -> None:
    answer = polled(request(accept_encoding="gzip"), {"count": 0})
    assert "Content-Encoding" not in answer.headers


def test_caches_keep_answers_of_callers_apart() -> None:
    headers = polled(request(), LONG).headers
    assert headers["Cache-Control"] == "private, no-cache"
    assert "Authorization" in headers["Vary"]
