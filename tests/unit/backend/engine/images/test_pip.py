"""What of pip goes to uv, and which calls need no shell."""

import pytest

from backend.engine.images.pip_lines import PipCall, pieces
from backend.engine.images.pip_stand_in import translate

PIP_LIKE = ["--index-strategy", "unsafe-best-match"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("install --no-cache-dir -r requirements.txt", ["-r", "requirements.txt", *PIP_LIKE]),
        ("install -qU a b==1", ["--quiet", "--upgrade", *PIP_LIKE, "a", "b==1"]),
        ("--no-cache-dir install a", [*PIP_LIKE, "a"]),
        ("install -rreq.txt --progress-bar off", ["-r", "req.txt", *PIP_LIKE]),
        ("install --upgrade pip a", ["--upgrade", *PIP_LIKE, "a"]),
        ("install a --extra-index-url=https://x", ["--extra-index-url", "https://x", *PIP_LIKE, "a"]),
        ("install git+https://github.com/Substra/substra-tools.git@main", [*PIP_LIKE, "substratools"]),
        ("install substratools@git+https://github.com/substra/substra-tools@1.0", [*PIP_LIKE, "substratools"]),
        ("install git+https://host/substra-tools-x.git", [*PIP_LIKE, "git+https://host/substra-tools-x.git"]),
    ],
)  # fmt: skip
def test_install_is_translated(arguments: str, expected: list[str]) -> None:
    assert translate(arguments.split()) == ["install", *expected]


def test_uninstall_and_reading_are_translated() -> None:
    assert translate(["uninstall", "-y", "setuptools"]) == ["uninstall", "setuptools"]
    assert translate(["list", "--format=json"]) == ["list", "--format=json"]


def test_upgrading_pip_alone_needs_nothing() -> None:
    assert translate(["install", "-U", "pip"]) == []


@pytest.mark.parametrize(
    "arguments", ["download six", "install --root /x a", "cache purge", "install", "", "install -r"]
)
def test_the_rest_is_for_the_real_pip(arguments: str) -> None:
    assert translate(arguments.split()) is None


def test_plain_calls_are_cut_out() -> None:
    found = pieces(
        "apt-get update -y && rm -rf /x/* && python3.11 -m pip install 'a>=1' b[c]~=2 && true"
    )
    assert found == [
        "apt-get update -y && rm -rf /x/*",
        PipCall(
            "python3.11", ("install", "a>=1", "b[c]~=2"), "python3.11 -m pip install 'a>=1' b[c]~=2"
        ),
        "true",
    ]


@pytest.mark.parametrize(
    "command",
    [
        "cd /x && pip install a",
        "A=b && pip install $A",
        "export A=b && pip install a",
        "pip install a || true",
        "pip install a; true",
        "pip install a | tee log",
        "pip install a && (pip install b)",
        "pip install 'a && pip install b",
    ],
)
def test_lines_that_need_one_shell_are_not_cut(command: str) -> None:
    assert pieces(command) == [command]


@pytest.mark.parametrize(
    "command",
    [
        "pip install -U setuptools>=70.0.0",
        "pip install $A",
        'pip install "$A"',
        "pip install a*",
        "pip install ~/x",
    ],
)
def test_words_that_a_shell_changes_stay_with_the_shell(command: str) -> None:
    assert pieces(f"true && {command}") == [f"true && {command}"]
