"""From an image to a task's root, variables and command."""

from pathlib import Path

import pytest

from ray_jobs.command import Command, NoEntryPoint, command
from ray_jobs.lease import Environment, file_name
from ray_jobs.root import compose, variables

ROOT, ARGUMENTS = Path("/task"), Path("/in/arguments.txt")


def image(tmp_path: Path, **changes: object) -> Environment:
    root = tmp_path / "environment"
    (root / "home/user/venv/bin").mkdir(parents=True)
    (root / "home/user/readme").write_text("of the environment")
    (root / "home/other").mkdir()
    (root / "opt").mkdir()
    layers = [tmp_path / "layer 1", tmp_path / "layer 2"]
    for number, layer in enumerate(layers):
        (layer / "home/user/pkg").mkdir(parents=True)
        (layer / "home/user/pkg/data").write_text(f"layer {number}")
    (layers[1] / "home/user/readme").write_text("of a layer")
    (layers[0] / "home/user/function.py").write_text("code")
    (layers[0] / "home/user/link").symlink_to("function.py")
    value = {
        "key": "k",
        "root": str(root),
        "layers": [str(layer) for layer in layers],
        "python": "/envs/k/bin/python",
        "base_prefix": "/usr",
        "workdir": "/home/user",
        "env": {},
        "entrypoint": ["python3", "function.py"],
        **changes,
    }
    return Environment.parse(value)


def test_root_links_the_environment_and_copies_the_layers(tmp_path: Path) -> None:
    environment = image(tmp_path)
    root = tmp_path / "task"
    compose(root, environment)
    home = root / "home/user"
    assert (home / "venv").readlink() == environment.root / "home/user/venv"
    assert (root / "opt").is_symlink()
    assert (root / "home/other").is_symlink()
    assert not home.is_symlink()
    assert (home / "link").readlink() == Path("function.py")
    assert (home / "readme").read_text() == "of a layer"
    assert (home / "pkg/data").read_text() == "layer 1"
    (home / "pkg/data").write_text("changed")
    assert (environment.layers[1] / "home/user/pkg/data").read_text() == "layer 1"
    assert (environment.root / "home/user/readme").read_text() == "of the environment"


def test_workdir_and_home_are_made_when_the_image_has_none(tmp_path: Path) -> None:
    environment = image(tmp_path, workdir="/data/work", env={"HOME": "/home/new"}, layers=[])
    root = tmp_path / "task"
    compose(root, environment)
    assert (root / "data/work").is_dir()
    assert (root / "home/new").is_dir()
    assert (root / "home/user").is_symlink()


def test_root_that_leaves_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leaves the root"):
        compose(tmp_path / "task", image(tmp_path, workdir="/home/../../x"))


def test_image_paths_of_variables_lie_below_the_root(tmp_path: Path) -> None:
    given = {
        "PATH": "/home/user/venv/bin:/usr/local/bin:/usr/bin",
        "PYTHONPATH": "/home/user/not-yet",
        "URL": "https://host/home/user",
        "TEST": "0",
        "LANG": "C",
    }
    found = variables(image(tmp_path, env=given), ROOT)
    assert found == {
        "PATH": "/task/home/user/venv/bin:/usr/local/bin:/usr/bin",
        "PYTHONPATH": "/task/home/user/not-yet",
        "URL": "https://host/home/user",
        "TEST": "0",
        "LANG": "C",
    }


PYTHON = "/envs/k/bin/python"


@pytest.mark.parametrize(
    ("words", "env", "expected", "script"),
    [
        (["python3", "f.py", "a b"], {}, [PYTHON, "-u", "f.py", "a b", "@"], ["f.py", "a b", "@"]),
        (["python", "-u", "f.py"], {}, [PYTHON, "-u", "-u", "f.py", "@"], ["f.py", "@"]),
        (["python3.12", "f.py"], {}, [PYTHON, "-u", "f.py", "@"], ["f.py", "@"]),
        (["/usr/local/bin/python3", "f.py"], {}, [PYTHON, "-u", "f.py", "@"], ["f.py", "@"]),
        (["python3", "/home/user/function.py"], {}, [PYTHON, "-u", "/task/home/user/function.py", "@"],
         ["/task/home/user/function.py", "@"]),
        (["python3", "-m", "mod"], {}, [PYTHON, "-u", "-m", "mod", "@"], None),
        (["python3"], {}, [PYTHON, "-u", "@"], None),
        (["python3", "f.py"], {"PYTHONOPTIMIZE": "1"}, [PYTHON, "-u", "f.py", "@"], None),
        (["Rscript", "f.R"], {}, ["Rscript", "f.R", "@"], None),
        (["/home/user/pkg/data", "x"], {}, ["/task/home/user/pkg/data", "x", "@"], None),
        (["pythonista", "x"], {}, ["pythonista", "-u", "x", "@"], None),
    ],
)  # fmt: skip
def test_entry_point_becomes_a_command(
    tmp_path: Path,
    words: list[str],
    env: dict[str, str],
    expected: list[str],
    script: list[str] | None,
) -> None:
    made = command(image(tmp_path, entrypoint=words, env=env), ROOT, ARGUMENTS)
    last = f"@{ARGUMENTS}"
    full = [last if word == "@" else word for word in expected]
    forked = None if script is None else tuple(last if word == "@" else word for word in script)
    assert made == Command(tuple(full), forked)


def test_image_without_entry_point_has_no_command(tmp_path: Path) -> None:
    with pytest.raises(NoEntryPoint):
        command(image(tmp_path, entrypoint=[]), ROOT, ARGUMENTS)


@pytest.mark.parametrize("identifier", ["..", ".", "", "a/b", "é" * 80, "x" * 300, ".hidden"])
def test_any_identifier_makes_one_safe_file_name(identifier: str) -> None:
    name = file_name(identifier)
    assert "/" not in name
    assert 0 < len(name) <= 200
    assert not name.startswith(".")


def test_plain_identifiers_stay_as_they_are() -> None:
    assert file_name("local model-1_a.b") == "local model-1_a.b"
