"""The confine command, used for RUN lines and zygotes, and the code that enters users' images."""

import ast
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ray_jobs.inner
from ray_jobs.inner.confine import Policy

INNER = Path(ray_jobs.inner.__file__).parent
SOURCES = sorted(INNER.glob("*.py"))


def confined(folder: Path, code: str, **policy: Any) -> Any:
    """What `code` prints, JSON, behind a policy with `folder` writable."""
    file = folder.with_suffix(".policy.json")
    shown = [sys.base_prefix, sys.prefix]
    file.write_text(json.dumps({"execute": shown, "write": [str(folder)], **policy}))
    command = [sys.executable, "-I", "-S", str(INNER / "confine.py"), str(file), "--"]
    done = subprocess.run(
        [*command, sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "writable"
    place.mkdir()
    (tmp_path / "outside").write_text("secret")
    return place


@pytest.fixture
def port() -> Iterator[int]:
    """A listening port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: _accept(server), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _accept(server: socket.socket) -> None:
    try:
        while True:
            server.accept()[0].close()
    except OSError:
        return


ATTEMPTS = """
import json, os, socket, sys
found = {}
def attempt(name, action):
    try:
        action()
        found[name] = "done"
    except OSError as error:
        found[name] = type(error).__name__
attempt("read outside", lambda: open("../outside").read())
try:
    open("../new", "w").close()  # behind the mount wall, a private /tmp may take it
except OSError:
    pass
attempt("write", lambda: open("mine", "w").close())
attempt("chmod", lambda: os.chmod("mine", 0o711))
found["mode"] = oct(os.stat("mine").st_mode & 0o777)
attempt("tcp", lambda: socket.create_connection(("127.0.0.1", PORT), 2).close())
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close())
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close())
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK).close())
attempt("run", lambda: os.stat("/usr/bin/env"))
found["pid"] = os.getpid()
print(json.dumps(found))
"""


@pytest.mark.parametrize("mounts", [True, False])
def test_function_policy_refuses_files_and_network(folder: Path, port: int, mounts: bool) -> None:
    code = ATTEMPTS.replace("PORT", str(port))
    found = confined(folder, code, network="none", mounts=mounts)
    done = {name for name, what in found.items() if what == "done"}
    assert done == {"write", "chmod", "run"}
    assert found["mode"] == ("0o711" if mounts and _walls()["mounts"] else "0o644")
    assert not (folder.parent / "new").exists()


@pytest.mark.parametrize("mounts", [True, False])
def test_build_policy_allows_named_ports_and_real_modes(
    folder: Path, port: int, mounts: bool
) -> None:
    code = ATTEMPTS.replace("PORT", str(port))
    policy = {"network": "internet", "mounts": mounts}
    allowed = confined(folder, code, ports=[port], **policy)
    assert {name for name, what in allowed.items() if what == "done"} == {
        "write", "chmod", "run", "tcp", "udp",
    }  # fmt: skip
    assert allowed["mode"] == "0o711"
    refused = confined(folder, code, ports=[443], **policy)
    assert refused["tcp"] == ("PermissionError" if _walls()["tcp_ports"] else "done")


def test_shell_of_a_run_line_works(folder: Path) -> None:
    code = (
        "import subprocess, json\n"
        "line = 'set -e; mkdir a; cd a; echo x > f; chmod 755 f; mv f ../g; ls -l ../g | cut -c1-10'\n"
        "done = subprocess.run(['/bin/sh', '-c', line], capture_output=True, text=True)\n"
        "print(json.dumps([done.stdout, done.stderr]))\n"
    )
    assert confined(folder, code, network="internet") == ["-rwxr-xr-x\n", ""]


def test_limits_and_variables_of_a_policy_hold(folder: Path) -> None:
    code = (
        "import json, os, resource as r\n"
        "print(json.dumps([r.getrlimit(r.RLIMIT_FSIZE)[0], r.getrlimit(r.RLIMIT_CORE)[1], dict(os.environ)]))"
    )
    given = {"A": "1", "LC_CTYPE": "C.UTF-8"}
    found = confined(folder, code, limits={"file_bytes": 4096}, environment=given)
    assert found == [4096, 0, given]


def _walls() -> dict[str, Any]:
    command = [sys.executable, "-I", "-S", str(INNER / "confine.py"), "--walls"]
    value: dict[str, Any] = json.loads(subprocess.check_output(command))
    return value


def test_walls_of_this_machine_are_told() -> None:
    assert set(_walls()) >= {"mounts", "landlock", "signals", "seccomp"}


def test_ordinary_user_gets_the_same_walls() -> None:
    """As `nobody` where the tests run as root, with an interpreter that everybody may run."""
    user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else os.getuid()
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "ray_jobs"
        shutil.copytree(INNER.parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for place in (Path(name), copy, *copy.rglob("*")):
            place.chmod(0o755)
        script = copy / "inner" / "confine.py"
        command = ["/usr/bin/python3", "-I", "-S", str(script), "--walls"]
        told = json.loads(subprocess.check_output(command, user=user, cwd="/", env={}))
    assert told == {**_walls(), "user": False}


@pytest.mark.parametrize(
    "policy",
    [
        [],
        {"read": "x"},
        {"read": ["relative"]},
        {"write": [1]},
        {"network": "all"},
        {"limits": {"unknown": 1}},
        {"tmp": "x"},
    ],
)
def test_bad_policy_is_refused(policy: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        Policy.parse(policy)


def test_command_says_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text("{}")
    script = str(INNER / "confine.py")
    for arguments, code in (
        ([], 2),
        ([str(file), "--"], 2),
        (["-", "{}", "--", "/no/such/program"], 127),
        (["-", "{}", "--", "/etc/ld.so.cache"], 126),
        (["-", '{"network": 1}', "--", "true"], 2),
    ):
        command = [sys.executable, script, *arguments]
        assert subprocess.run(command, capture_output=True, check=False).returncode == code


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_code_that_enters_images_is_plain_old_python(source: Path) -> None:
    tree = ast.parse(source.read_text(), feature_version=(3, 9))
    assert not any(isinstance(node, ast.Match) for node in ast.walk(tree))
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            top = name.partition(".")[0]
            assert top in sys.stdlib_module_names or name.startswith("ray_jobs.inner")


def test_runner_imports_the_standard_library_only() -> None:
    for source in INNER.parent.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            tops = {name.partition(".")[0] for name in names}
            assert tops <= sys.stdlib_module_names | {"ray_jobs"}
