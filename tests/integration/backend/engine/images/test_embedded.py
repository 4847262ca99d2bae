"""Building with the real uv: the Dockerfiles of the SDK, SubstraFL and the documentation."""

import json
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from substrafl.remote.register import register

from backend.engine.images.store import BadImage, ImageStore, UnknownImage
from tests.integration.backend.engine.images.conftest import Workshop

VERSION = ".".join(platform.python_version_tuple()[:2])
FROM = f"FROM python:{VERSION}-slim\n"
ENTRYPOINT = '\nENTRYPOINT ["python3", "function.py", "--function-name", "foo"]\n'


def substrafl_files(method: str) -> dict[str, str]:
    """What SubstraFL registers for one operation, its own Dockerfile included."""
    dependencies: Any = SimpleNamespace(
        use_gpu=False, binary_dependencies=None, _wheels=[], _local_paths=[Path("local.py")]
    )
    dockerfile = register._create_dockerfile(True, dependencies, Path(), method)
    return {
        "Dockerfile": dockerfile,
        "requirements.txt": "substratools\ncloudpickle\n",
        "function.py": "import cloudpickle, local, substratools, sys; print(sys.prefix, local.NAME)",
        "substrafl_internal/cls_cloudpickle": method,
        "substrafl_internal/description.md": "# Substrafl Operation",
        "local.py": f"NAME = {method!r}\n",
    }


def run_function(environment: dict[str, Any], root: Path) -> str:
    """The function in a fresh root: upper layers copied, the environment where it lies."""
    for layer in environment["layers"]:
        shutil.copytree(layer, root, dirs_exist_ok=True, copy_function=shutil.copyfile)
        for folder in [root, *root.rglob("*")]:
            folder.chmod(0o755)
    done = subprocess.run(
        [environment["python"], *environment["entrypoint"][1:]],
        cwd=root / environment["workdir"].lstrip("/"),
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_images_of_one_substrafl_experiment_share_their_environment(
    workshop: Workshop, tmp_path: Path
) -> None:
    first = workshop.build_files(substrafl_files("train")).manifest
    assert "no effect: adduser" in workshop.log
    began = time.monotonic()
    second = workshop.build_files(substrafl_files("predict")).manifest
    assert time.monotonic() - began < 2
    assert second.digest != first.digest
    assert second.environment_layers == first.environment_layers
    assert "using cache" in workshop.log
    assert f"Step 11/19 : RUN python{VERSION} -m pip install --no-cache-dir -r" in workshop.log

    environments = [workshop.store.materialize(manifest) for manifest in (first, second)]
    assert environments[0]["key"] == environments[1]["key"]
    assert environments[0]["root"] == environments[1]["root"]
    assert environments[1]["workdir"] == "/home/user"
    assert environments[1]["env"]["PATH"].startswith("/home/user/venv/bin:/usr/local/bin:")
    prefix = f"{environments[1]['root']}/home/user/venv"
    assert environments[1]["python"] == f"{prefix}/bin/python{VERSION}"
    assert run_function(environments[1], tmp_path / "task") == f"{prefix} predict\n"


def test_nothing_of_the_state_folder_is_in_layers_and_manifests(
    workshop: Workshop, media: Path
) -> None:
    workshop.build_files(substrafl_files("train"))
    workshop.build(
        f"{FROM}RUN pip install tqdm && pwd > /where && readlink -f $(command -v tqdm) >> /where"
        f"{ENTRYPOINT}"
    )
    files = [
        path for name in ("layers", "manifests") for path in (media / "images" / name).iterdir()
    ]
    assert len(files) > 5
    for path in files:
        assert str(media).encode() not in path.read_bytes(), path
    assert str(media) not in workshop.log


def test_an_image_moves_to_another_organization_layer_by_layer(
    workshop: Workshop, tmp_path: Path
) -> None:
    manifest = workshop.build_files(substrafl_files("train")).manifest
    peer = ImageStore(tmp_path / "media-of-org-2")
    with pytest.raises(UnknownImage):
        peer.manifest(manifest.digest)
    with pytest.raises(BadImage):
        peer.add_manifest(manifest.content + b" ", manifest.digest)
    received = peer.add_manifest(manifest.content, manifest.digest)
    missing = peer.missing_layers(received)
    assert set(missing) == {layer.digest for layer in manifest.layers}
    for number, digest in enumerate(missing):
        copy = tmp_path / f"layer-{number}"
        shutil.copyfile(workshop.store.layer_path(digest), copy)
        peer.add_layer(copy, digest)
    assert peer.missing_layers(received) == []
    environment = peer.materialize(peer.manifest(manifest.digest))
    assert environment["root"].startswith(str(tmp_path))
    output = run_function(environment, tmp_path / "task")
    assert output == f"{environment['root']}/home/user/venv train\n"


def test_a_layer_with_other_bytes_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    manifest = workshop.build(FROM + ENTRYPOINT).manifest
    peer = ImageStore(tmp_path / "media-of-org-2")
    (tmp_path / "layer").write_bytes(b"something else")
    with pytest.raises(BadImage):
        peer.add_layer(tmp_path / "layer", manifest.layers[0].digest)
    assert not peer.has_layer(manifest.layers[0].digest)
    assert [path.name for path in (tmp_path / "media-of-org-2/images/layers").iterdir()] == []
    with pytest.raises(UnknownImage):
        peer.materialize(manifest)


def test_environments_are_read_only_and_hold_compiled_bytecode(workshop: Workshop) -> None:
    manifest = workshop.build(f"{FROM}RUN pip install tqdm{ENTRYPOINT}").manifest
    environment = workshop.store.materialize(manifest)
    root = Path(environment["root"])
    writable = [
        path for path in root.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o222
    ]
    assert writable == []
    done = subprocess.run(
        [environment["python"], "-I", "-c", "import tqdm.std; print(tqdm.std.__cached__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    bytecode = Path(done.stdout.strip()).read_bytes()
    assert f"/usr/local/lib/python{VERSION}/site-packages/tqdm/std.py".encode() in bytecode
    assert environment["root"].encode() not in bytecode
    assert bytecode[4] == 1  # checked against no source
    script = subprocess.run(
        [f"{root}/usr/local/bin/tqdm", "--version"], capture_output=True, text=True, check=True
    )
    assert script.stdout


def test_dockerfile_of_the_end_to_end_tests(workshop: Workshop, tmp_path: Path) -> None:
    manifest = workshop.build(
        f"""{FROM}
        RUN apt-get update -y && apt-get install -y git && rm -rf /var/lib/apt/lists/*
        RUN python3 -m pip install -U pip
        RUN python3 -m pip install git+https://github.com/substra/substra-tools.git@main
        RUN groupadd -g 1001 sandbox && useradd -u 1001 -g sandbox -d /sandbox sandbox
        WORKDIR /sandbox
        ENV PYTHONPATH /sandbox
        COPY function.py .
        RUN mkdir -p /sandbox/sub && echo "one" >> /sandbox/sub/file && cat sub/file
        {ENTRYPOINT}"""
    ).manifest
    assert "+ substratools==" in workshop.log
    assert "one\n" in workshop.log
    environment = workshop.store.materialize(manifest)
    assert environment["layers"] == []
    assert environment["env"]["PYTHONPATH"] == "/sandbox"
    assert (Path(environment["root"]) / "sandbox/sub/file").read_text() == "one\n"


def test_a_failing_command_after_the_entrypoint_fails_with_the_shells_words(
    workshop: Workshop,
) -> None:
    reason = workshop.fail(f"{FROM}COPY function.py .{ENTRYPOINT}RUN definitely_not_there")
    assert "definitely_not_there" in reason
    assert "127" in reason
    assert "definitely_not_there: not found" in workshop.log
    assert "Step 4/4 : RUN definitely_not_there" in workshop.log


def test_a_package_that_does_not_exist_fails_with_pips_words(workshop: Workshop) -> None:
    workshop.fail(f"{FROM}RUN pip install 'six==0.0.0.1'{ENTRYPOINT}")
    assert "six==0.0.0.1" in workshop.log


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        (FROM + "RUN true", "no ENTRYPOINT"),
        (FROM + "ENTRYPOINT python3 function.py", "exec form"),
        ("FROM ubuntu:24.04" + ENTRYPOINT, "not supported in embedded mode"),
        (FROM + 'ENTRYPOINT ["python3.9", "f.py"]', "python3.9: not found"),
        (FROM + "COPY absent.py ." + ENTRYPOINT, "absent.py: no such file"),
        ("FROM python:3.2-slim" + ENTRYPOINT, "Python 3.2 is not installed"),
    ],
)
def test_what_cannot_be_built_is_said_at_build_time(
    workshop: Workshop, dockerfile: str, words: str
) -> None:
    assert words in workshop.fail(dockerfile)


@pytest.mark.parametrize("words", [["sh", "run.sh"], ["./run.sh", "a b"], ["Rscript", "f.R"]])
def test_an_entry_point_of_another_language_is_kept_word_by_word(
    workshop: Workshop, words: list[str]
) -> None:
    manifest = workshop.build(
        f"{FROM}COPY function.py .\nENTRYPOINT {json.dumps(words)}\n"
    ).manifest
    assert f"ENTRYPOINT {words[0]!r} is no Python" in workshop.log
    environment = workshop.store.materialize(manifest)
    assert environment["entrypoint"] == words
    assert Path(environment["python"]).exists()


def _noted(happened: list[tuple[str, Path]], unpack: Callable[..., Path], *given: Any) -> Path:
    path = unpack(*given)
    happened.append(("unpacked", path))
    return path


def test_what_is_unpacked_counts_as_used_before_the_next_folder_is(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upper layers of a large image take a while, in which its environment must not be cleared away."""
    manifest = workshop.build(f"{FROM}COPY function.py ./only-here.py{ENTRYPOINT}").manifest
    store, happened = workshop.store, list[tuple[str, Path]]()
    monkeypatch.setattr(store, "_unpacked", partial(_noted, happened, store._unpacked))
    store.materialize(manifest, used=lambda path: happened.append(("used", path)))
    words = [word for word, _path in happened]
    assert words == ["unpacked", "used"] * (len(words) // 2)
    assert [path for word, path in happened if word == "used"] == [
        path for word, path in happened if word == "unpacked"
    ]


def test_an_archive_without_dockerfile_is_to_blame(workshop: Workshop) -> None:
    with pytest.raises(Exception, match="no file named Dockerfile"):
        workshop.build_files({"dockerfile": FROM, "function.py": ""})


def test_editable_installs_and_activated_environments(workshop: Workshop) -> None:
    setup = "from setuptools import setup\nsetup(name='own', version='1', py_modules=['own'])\n"
    manifest = workshop.build_files(
        {
            "Dockerfile": f"{FROM}COPY pkg /pkg\nRUN pip install -e /pkg\n"
            "RUN python -m venv /opt/v && . /opt/v/bin/activate && pip install six "
            "&& python -c 'import six, sys; print(sys.prefix)' && pip freeze\n" + ENTRYPOINT,
            "pkg/setup.py": setup,
            "pkg/own.py": "",
        }
    ).manifest
    assert "\n/opt/v\n" in workshop.log
    environment = workshop.store.materialize(manifest)
    done = subprocess.run(
        [environment["python"], "-c", "import own; print(own.__file__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{environment['root']}/pkg/own.py\n"


def test_deletions_and_copies_over_links(workshop: Workshop) -> None:
    manifest = workshop.build(
        f"{FROM}RUN mkdir -p /a/b && touch /a/b/x /a/y && ln -s /a/b /l\n"
        f"COPY function.py /l/\nRUN rm /a/y && ls /a/b > /seen{ENTRYPOINT}"
    ).manifest
    root = Path(workshop.store.materialize(manifest)["root"])
    assert (root / "seen").read_text().split() == ["function.py", "x"]
    assert not (root / "a/y").exists()
    assert (root / "l").readlink() == Path("a/b")
    assert (root / "a/b/function.py").is_file()


def test_base_image_of_older_projects(workshop: Workshop) -> None:
    base = f"FROM ghcr.io/substra/substra-tools:0.21.0-nvidiacuda11.8.0-base-python{VERSION}\n"
    manifest = workshop.build(f"{base}COPY . .{ENTRYPOINT}").manifest
    environment = workshop.store.materialize(manifest)
    assert environment["workdir"] == "/sandbox"
    done = subprocess.run([environment["python"], "-I", "-c", "import substratools"], check=False)
    assert done.returncode == 0
