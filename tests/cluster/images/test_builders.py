"""Function images built in a real cluster, by each builder that it has, and what can go wrong there."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.engine.images.build_job import JOBS, BuildSource, Recipe, job_name
from backend.engine.images.cluster_builder import BuildAgain, ClusterBuilder
from backend.engine.images.embedded import BuildFailed
from backend.engine.images.processes import BuildStopped
from backend.ports.registry import Registry
from kuberay.resources import PODS, Resource
from kuberay.transport import Connection
from tests.cluster.conftest import REGISTRY
from tests.cluster.images.conftest import FileServer, Options

SECOND_BUILD_S = 15.0
GOAL = "function with two pip lines, second build (cache)"
WAIT_S = 120.0


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry(REGISTRY, scheme="http")
    yield made
    made.close()


def two_pip_lines(files: FileServer) -> str:
    for name in ("first_of_two", "second_of_two"):
        files.offer_package(name)
    host = files.address.rpartition(":")[0].partition("//")[2]
    pip = f"/v/bin/pip install -q --no-index --trusted-host {host} --find-links {files.address}"
    return "\n".join(
        [
            f"FROM {REGISTRY}/python:3.11",
            "RUN python3 -m venv /v",
            f"RUN {pip} first_of_two",
            f"RUN {pip} second_of_two",
            "COPY function.py /home/user/function.py",
            'ENTRYPOINT ["/v/bin/python3", "/home/user/function.py"]',
            "",
        ]
    )


def test_two_pip_lines_and_again_from_the_cache(
    connection: Connection,
    registry: Registry,
    recipe: Recipe,
    options: Options,
    files: FileServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    builder, dockerfile = (
        ClusterBuilder(connection, registry, recipe, options()),
        two_pip_lines(files),
    )
    times = []
    for number in (1, 2):
        source = files.offer(Dockerfile=dockerfile, **{"function.py": f"print({number})\n"})
        began = time.monotonic()
        built = builder.build(source, tmp_path / f"{number}.log")
        times.append((time.monotonic() - began, built.seconds))
        assert built.entrypoint == ("/v/bin/python3", "/home/user/function.py")
        assert registry.image(options().repository, built.digest) is not None
    with capsys.disabled():
        for number, (whole, steps) in enumerate(times, 1):
            words = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in steps.items())
            print(f"\n{recipe.container}: {GOAL}: build {number} {whole:.1f} s ({words})", end="")
    log = (tmp_path / "2.log").read_text()
    assert {"kaniko": "Using caching version of cmd", "buildkit": "CACHED"}[recipe.container] in log
    began = time.monotonic()
    assert builder.build(source, tmp_path / "3.log").reference == built.reference
    assert "Already built" in (tmp_path / "3.log").read_text()
    assert time.monotonic() - began < 5
    assert times[1][0] < times[0][0]


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        (
            'FROM {registry}/python:3.11\nRUN echo so it goes && false\nENTRYPOINT ["x"]\n',
            "so it goes",
        ),
        ("FROM {registry}/python:3.11\nBREW tea\n", "BREW"),
        ('FROM {registry}/no-such-image:1\nENTRYPOINT ["x"]\n', "no-such-image"),
        ("FROM {registry}/python:3.11\n", "no ENTRYPOINT"),
    ],
)
def test_bad_dockerfile_is_a_failure_with_its_log(
    connection: Connection,
    registry: Registry,
    recipe: Recipe,
    options: Options,
    files: FileServer,
    tmp_path: Path,
    dockerfile: str,
    words: str,
) -> None:
    source = files.offer(Dockerfile=dockerfile.format(registry=REGISTRY), more="")
    builder = ClusterBuilder(connection, registry, recipe, options())
    with pytest.raises(BuildFailed):
        builder.build(source, tmp_path / "log")
    assert words in (tmp_path / "log").read_text()
    assert (
        Resource(connection, JOBS, options().namespace).find(job_name(recipe.container, source))
        is None
    )


def test_bad_archive_is_its_owners_fault(
    connection: Connection,
    registry: Registry,
    recipe: Recipe,
    options: Options,
    files: FileServer,
    tmp_path: Path,
) -> None:
    builder = ClusterBuilder(connection, registry, recipe, options())
    with pytest.raises(BuildFailed, match="archive"):
        builder.build(files.offer_bytes(b"no archive at all"), tmp_path / "log")


def test_what_the_cluster_does_not_give_is_told_with_its_cause(
    connection: Connection,
    registry: Registry,
    recipe: Recipe,
    options: Options,
    files: FileServer,
    tmp_path: Path,
) -> None:
    source = files.offer(Dockerfile=f"FROM {REGISTRY}/python:3.11\n", more="cluster")
    for changes, words in (
        ({"node_selector": {"disk": "none-such"}}, "no place for the build"),
        ({"context_image": f"{REGISTRY}/no-such-image:1"}, "cannot be pulled"),
        ({"docker_config_secret": "no-such-secret"}, "cannot start|does not start"),
    ):
        builder = ClusterBuilder(connection, registry, recipe, options(**changes), start_s=8)
        with pytest.raises(BuildAgain, match=words):
            builder.build(source, tmp_path / "log")


def endless(files: FileServer, text: str) -> dict[str, str]:
    return {
        "Dockerfile": f"FROM {REGISTRY}/python:3.11\nRUN echo {text} && sleep 600\n",
        "more": text,
    }


def wait_for_builder(connection: Connection, namespace: str, job: str) -> str:
    """The name of the pod whose builder runs."""
    deadline, pods = time.monotonic() + WAIT_S, Resource(connection, PODS, namespace)
    while True:
        for pod in pods.all({"batch.kubernetes.io/job-name": job}):
            statuses = pod.get("status", {}).get("containerStatuses") or []
            if any("running" in status.get("state", {}) for status in statuses):
                return str(pod["metadata"]["name"])
        assert time.monotonic() < deadline, f"{job} does not run"
        time.sleep(0.2)


def attempt(
    builder: ClusterBuilder,
    source: BuildSource,
    folder: Path,
    stop: threading.Event,
    caught: list[BaseException],
) -> None:
    """Build in a thread; how it ended is put into `caught`."""
    try:
        builder.build(source, folder / "log", stop.is_set)
    except (BuildAgain, BuildFailed, BuildStopped) as error:
        caught.append(error)


def test_unwanted_build_ends_and_leaves_nothing(
    connection: Connection,
    registry: Registry,
    recipe: Recipe,
    options: Options,
    files: FileServer,
    tmp_path: Path,
) -> None:
    source, stop = files.offer(**endless(files, "unwanted")), threading.Event()
    builder = ClusterBuilder(connection, registry, recipe, options())
    caught: list[BaseException] = []
    thread = threading.Thread(target=attempt, args=(builder, source, tmp_path, stop, caught))
    thread.start()
    wait_for_builder(connection, options().namespace, job_name(recipe.container, source))
    stop.set()
    thread.join(WAIT_S)
    assert [type(error) for error in caught] == [BuildStopped]
    Resource(connection, JOBS, options().namespace).wait_gone(
        job_name(recipe.container, source), for_s=WAIT_S
    )


def test_build_has_a_time_limit(
    connection: Connection,
    registry: Registry,
    recipe: Recipe,
    options: Options,
    files: FileServer,
    tmp_path: Path,
) -> None:
    builder = ClusterBuilder(connection, registry, recipe, options(timeout_s=15))
    with pytest.raises(BuildFailed, match="longer than 15 seconds"):
        builder.build(files.offer(**endless(files, "slow")), tmp_path / "log")


def test_lost_pod_is_nobodys_fault(
    connection: Connection,
    registry: Registry,
    recipe: Recipe,
    options: Options,
    files: FileServer,
    tmp_path: Path,
) -> None:
    source = files.offer(**endless(files, "lost"))
    builder = ClusterBuilder(connection, registry, recipe, options())
    caught: list[BaseException] = []
    thread = threading.Thread(
        target=attempt, args=(builder, source, tmp_path, threading.Event(), caught)
    )
    thread.start()
    pod = wait_for_builder(connection, options().namespace, job_name(recipe.container, source))
    Resource(connection, PODS, options().namespace).delete(pod, grace_s=0)
    thread.join(WAIT_S)
    assert [type(error) for error in caught] == [BuildAgain]


def test_next_builder_goes_on_with_the_build_of_a_dead_one(
    connection: Connection,
    registry: Registry,
    recipe: Recipe,
    options: Options,
    files: FileServer,
    tmp_path: Path,
) -> None:
    text = f'FROM {REGISTRY}/python:3.11\nRUN sleep 5\nENTRYPOINT ["python3"]\n'
    source = files.offer(Dockerfile=text, more="left behind")
    jobs = Resource(connection, JOBS, options().namespace)
    left = jobs.create(recipe.job(options(), source))  # and whoever made it is dead
    wait_for_builder(connection, options().namespace, job_name(recipe.container, source))
    built = ClusterBuilder(connection, registry, recipe, options()).build(source, tmp_path / "log")
    assert built.entrypoint == ("python3",)
    assert left["metadata"]["name"] == job_name(recipe.container, source)
    jobs.wait_gone(job_name(recipe.container, source), for_s=WAIT_S)
