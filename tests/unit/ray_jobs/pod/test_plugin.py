"""The function image as Ray's runtime environment."""

import asyncio
import logging
from typing import Any

import pytest

from ray_jobs.pod import plugin
from ray_jobs.pod.agent_client import Hello, NoAgent

IMAGE = "registry/function@sha256:" + "a" * 64


def create(monkeypatch: pytest.MonkeyPatch, hello: Any) -> float:
    """What `create` says when the agent answers so."""

    def wait(_agent: object, _for_s: float) -> Hello:
        if isinstance(hello, Exception):
            raise hello
        return Hello(hello, "/work", {}, False)

    monkeypatch.setattr("ray_jobs.pod.agent_client.Agent.wait", wait)
    made = plugin.SubstraImage().create(
        None, {plugin.FIELD: IMAGE}, None, logging.getLogger("test")
    )
    return asyncio.run(made)


def test_the_environment_is_there_when_the_container_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert create(monkeypatch, IMAGE) == 0


def test_another_image_fails_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="not registry/function"):
        create(monkeypatch, "registry/function@sha256:" + "b" * 64)


def test_a_container_that_does_not_start_fails_the_job_with_its_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(RuntimeError, match="does not answer: no socket"):
        create(monkeypatch, NoAgent("no socket"))


@pytest.mark.parametrize("image", ["registry/function:latest", "x@sha256:123", 7])
def test_images_are_named_by_their_digest(image: object) -> None:
    with pytest.raises(ValueError, match="digest"):
        plugin.SubstraImage.validate({plugin.FIELD: image})


def test_other_environments_are_not_its_business() -> None:
    plugin.SubstraImage.validate({"env_vars": {}})
    plugin.SubstraImage.validate({plugin.FIELD: IMAGE})
    assert plugin.SubstraImage().get_uris({plugin.FIELD: IMAGE}) == []
