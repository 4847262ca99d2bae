"""The Dockerfiles of compute.md 13.1, and what the subset refuses."""

import sys
from typing import TypeVar

import pytest

from backend.engine.images.dockerfile import (
    Arg,
    Copy,
    Dockerfile,
    DockerfileError,
    Env,
    Ignored,
    Run,
    Step,
    Workdir,
    read_dockerfile,
)

T = TypeVar("T", bound=Step)
ENTRYPOINT = 'ENTRYPOINT ["python3", "function.py", "--function-name", "foo"]'
CUDA_TAG = "0.21.0-nvidiacuda11.8.0-base-ubuntu22.04"
E2E = f"""
FROM python:3.11-slim

# update image
RUN apt-get update -y && apt-get install -y git
RUN python3 -m pip install -U pip
RUN python3 -m pip install git+https://github.com/Substra/substra-tools.git@main

# create a non-root user
RUN groupadd -g 1001 sandbox && useradd -u 1001 -g sandbox -d /sandbox sandbox
WORKDIR /sandbox
ENV PYTHONPATH /sandbox

COPY function.py .
{ENTRYPOINT}
"""


def read(*lines: str, base: str = "python:3.11-slim") -> Dockerfile:
    return read_dockerfile("\n".join([f"FROM {base}", *lines, ENTRYPOINT]))


def step(line: str, kind: type[T]) -> T:
    found = [item for item in read(line).steps if isinstance(item, kind)]
    assert len(found) == 1
    return found[0]


def test_default_dockerfile_of_the_end_to_end_tests() -> None:
    dockerfile = read_dockerfile(E2E)
    assert dockerfile.base.python == "3.11"
    assert dockerfile.entrypoint == ("python3", "function.py", "--function-name", "foo")
    kinds = [type(item).__name__ for item in dockerfile.steps]
    assert kinds == ["Run", "Run", "Run", "Run", "Workdir", "Env", "Copy", "Entrypoint"]
    assert dockerfile.steps[5] == Env("ENV PYTHONPATH /sandbox", {"PYTHONPATH": "/sandbox"})
    assert dockerfile.steps[6] == Copy("COPY function.py .", ("function.py",), "/sandbox/")


def test_instructions_after_entrypoint_still_run() -> None:
    dockerfile = read_dockerfile(f"FROM python:3.12\n{ENTRYPOINT}\nRUN not_there")
    assert dockerfile.steps[-1] == Run("RUN not_there", "not_there")


def test_continuation_comments_and_blank_lines_inside_an_instruction() -> None:
    run = step("run apt-get update \\\n  # a comment\n\n    && echo a \\\n&& echo b", Run)
    assert run.command == "apt-get update     && echo a && echo b"


def test_escape_directive_changes_the_continuation() -> None:
    text = f"# escape=`\nFROM python:3.11\nRUN echo a `\n  b\n{ENTRYPOINT}"
    assert read_dockerfile(text).steps[0] == Run("RUN echo a   b", "echo a   b")


def test_a_continuation_at_the_end_of_the_file_loses_nothing() -> None:
    (run,) = read_dockerfile(
        f"FROM python:3.11\n{ENTRYPOINT}\nRUN echo a && \\\n  echo b \\"
    ).steps[1:]
    assert isinstance(run, Run)
    assert str(run.command).split() == ["echo", "a", "&&", "echo", "b"]


@pytest.mark.parametrize("line", ["RUN", "  RUN  ", "NONSENSE", "NONSENSE a"])
def test_a_line_that_is_no_instruction_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(DockerfileError, match="line 3"):
        read_dockerfile(f"FROM python:3.11\n\n{line}\n{ENTRYPOINT}")


def test_arguments_before_and_after_from() -> None:
    dockerfile = read_dockerfile(
        "ARG VERSION=3.12\nARG UNUSED\nFROM python:${VERSION}-slim AS base\n"
        f"ARG VERSION\nARG NAME=a$VERSION\nENV X=$NAME Y=${{UNUSED:-none}}\n{ENTRYPOINT}"
    )
    assert dockerfile.base.python == "3.12"
    assert dockerfile.steps[0] == Arg("ARG VERSION", {"VERSION": "3.12"})
    env = dockerfile.steps[2]
    assert isinstance(env, Env)
    assert env.variables == {"X": "a3.12", "Y": "none"}


def test_environment_expands_with_the_values_before_the_instruction() -> None:
    env = step('ENV PATH="/home/user/venv/bin:$PATH" VIRTUAL_ENV=/home/user/venv A=b\\ c', Env)
    assert env.variables["PATH"].startswith("/home/user/venv/bin:/usr/local/bin:")
    assert env.variables["A"] == "b c"
    assert step("ENV KEY some  value  ", Env).variables == {"KEY": "some  value"}


def test_workdir_is_relative_to_the_one_before() -> None:
    steps = read("WORKDIR /a", "WORKDIR b/../c", "ENV D=d", "WORKDIR ${D}").steps
    assert [item.path for item in steps if isinstance(item, Workdir)] == ["/a", "/a/c", "/a/c/d"]


@pytest.mark.parametrize(
    ("line", "sources", "target"),
    [
        ("COPY a b /x/", ("a", "b"), "/x/"),
        ("COPY --chown=1001:1001 --link a /x", ("a",), "/x"),
        ('COPY ["a b", "c", "/x/"]', ("a b", "c"), "/x/"),
        ('ADD "a b" .', ("a b",), "/"),
        ("COPY *.py lib/?.txt ./src/", ("*.py", "lib/?.txt"), "/src/"),
        ("COPY . ..", (".",), "/"),
    ],
)
def test_copy_forms(line: str, sources: tuple[str, ...], target: str) -> None:
    copy = step(line, Copy)
    assert (copy.sources, copy.target) == (sources, target)
    assert copy.unpack == line.startswith("ADD")


def test_chmod_of_copy_is_kept() -> None:
    assert step("COPY --chmod=755 a b", Copy).mode == 0o755


def test_exec_form_of_run_keeps_its_words() -> None:
    assert step('RUN ["pip", "install", "a b"]', Run).command == ("pip", "install", "a b")
    assert step("RUN [ -d /x ] || mkdir /x", Run).command == "[ -d /x ] || mkdir /x"


def test_cache_mounts_of_run_mean_nothing() -> None:
    run = step("RUN --mount=type=cache,target=/cache pip install six", Run)
    assert run.command == "pip install six"


@pytest.mark.parametrize(
    "line", ["USER user", "LABEL a=b", "EXPOSE 80", 'CMD ["x"]', "VOLUME /x", "MAINTAINER me"]
)
def test_ignored_instructions(line: str) -> None:
    assert step(line, Ignored).text == line


@pytest.mark.parametrize(
    ("image", "python", "workdir"),
    [
        ("python:3.10-slim", "3.10", "/"),
        ("docker.io/library/python:3.12.4-slim-bookworm", "3.12", "/"),
        ("python:3.11@sha256:" + "0" * 64, "3.11", "/"),
        ("python", f"3.{sys.version_info[1]}", "/"),
        (f"ghcr.io/substra/substra-tools:{CUDA_TAG}-python3.10-minimal", "3.10", "/sandbox"),
    ],
)  # fmt: skip
def test_supported_bases(image: str, python: str, workdir: str) -> None:
    base = read(base=image).base
    assert (base.python, base.workdir) == (python, workdir)


def test_cuda_takes_its_python_from_entrypoint_or_apt() -> None:
    cuda = "FROM nvidia/cuda:12.6.1-runtime-ubuntu24.04\n"
    from_apt = read_dockerfile(
        f"{cuda}RUN apt-get install -y python3.12 python3.12-venv\n{ENTRYPOINT}"
    )
    assert from_apt.base.python == "3.12"
    from_entrypoint = read_dockerfile(f'{cuda}ENTRYPOINT ["python3.11", "f.py"]')
    assert from_entrypoint.base.python == "3.11"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM ubuntu:24.04\n" + ENTRYPOINT, "ubuntu:24.04 is not supported in embedded mode"),
        ("FROM python:3.11-alpine\n" + ENTRYPOINT, "not supported"),
        (f"FROM python:3.11\nFROM python:3.12\n{ENTRYPOINT}", "several FROM"),
        ("FROM nvidia/cuda:12\n" + ENTRYPOINT, "no Python version found"),
        ("RUN true\nFROM python:3.11\n" + ENTRYPOINT, "FROM comes first"),
        ("", "no FROM"),
        ("FROM python:3.11", "no ENTRYPOINT"),
        ("FROM python:3.11\nENTRYPOINT python3 function.py", "exec form"),
        ('FROM python:3.11\nENTRYPOINT ["python3", function.py]', "exec form"),
        ("FROM python:3.11\nENTRYPOINT []", "exec form"),
        ("FROM python:3.11\nFOO bar", "line 2: unknown instruction: FOO"),
        ("FROM python:3.11\nRUN", "requires at least one argument"),
        ("FROM python:3.11\nRUN <<EOF\necho\nEOF", "heredocs"),
        ("FROM python:3.11\nCOPY <<EOF /x\na\nEOF", "heredocs"),
        ("FROM python:3.11\nADD https://example.org/x /x", "ADD of a URL"),
        ("FROM python:3.11\nADD git@example.org:x.git /x", "ADD of a URL"),
        ("FROM python:3.11\nCOPY --from=base a b", "--from is not supported"),
        ("FROM python:3.11\nCOPY a b c", "must be a folder"),
        ("FROM python:3.11\nCOPY a", "at least two arguments"),
        ("FROM python:3.11\nENV A", "two arguments"),
        ("FROM python:3.11\nENV A=b C", "can't find ="),
        ('FROM python:3.11\nENV A="b', "double quote"),
        ("FROM python:3.11\nENV A=${B#c}", "unsupported form"),
        ("FROM python:3.11\nENV A=${B:?absent}", "B: absent"),
        ("FROM python:3.11\nENV A=aaaaaaaaaaaaaaaa" + "\nENV A=$A$A" * 40, "too long"),
        ("FROM python:3.11\nENV A=" + "a" * 120_000 + "\nENV B=$A" * 200, "too large"),
        ("FROM python:3.11\nENV A=" + "${A:-" * 3_000 + "}" * 3_000, "nested too deeply"),
        ("FROM python:3.11\n" + "#" * 300_000, "longer than"),
        ("FROM python:3.11\nONBUILD RUN true", "ONBUILD"),
        ("FROM python:3.11\nRUN --mount=type=secret,id=x cat /x", "--mount"),
    ],
)
def test_refusals_say_why(text: str, words: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        read_dockerfile(text)
    assert words in str(caught.value)
