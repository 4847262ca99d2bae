"""Run a user's script in this forked process as `python -u script.py arguments…` would have run it.

Runs inside users' environments: Python 3.9 or newer, standard library only.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import tempfile
import threading
import types
from importlib.machinery import SourceFileLoader
from types import TracebackType
from typing import Any

MOST_NAMES = 2000
_REPORTED = 50_000  # characters of names a task: the rest is learned by the next one
_LONGEST_NAME = 100
_NEVER = frozenset(("__main__", "antigravity", "idlelib", "test", "this", "turtledemo"))
_STANDARD = frozenset(getattr(sys, "stdlib_module_names", ())) - _NEVER  # none before Python 3.10


def prepare(
    environment: dict[str, str], script: str, arguments: list[str], path: list[str]
) -> None:
    """Give this process the environment, arguments and import path that a new interpreter would have.

    `path` is the interpreter's own import path, without a script's folder or PYTHONPATH.
    """
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # found anew below this task's TMPDIR
    folder = os.path.dirname(os.path.realpath(script))
    extra = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:] = [folder, *extra, *path, *_user_site(environment)]
    sys.path_importer_cache.clear()
    sys.argv[:] = [script, *arguments]
    _new_entropy()


def _user_site(environment: dict[str, str]) -> list[str]:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    folder = os.path.join(environment.get("HOME", "/"), ".local/lib", version, "site-packages")
    return [folder] if os.path.isdir(folder) and sys.prefix == sys.base_prefix else []


def _new_entropy() -> None:
    """A new interpreter's numpy is seeded by the system; a forked one would repeat its siblings' numbers."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def run(script: str) -> int:
    """Execute the script as `__main__`; its exit code. Tracebacks show the user's frames only."""
    main = types.ModuleType("__main__")
    path = os.path.abspath(script)
    main.__dict__.update(
        __file__=path,
        __builtins__=sys.modules["builtins"],
        __loader__=SourceFileLoader("__main__", path),
    )
    sys.modules["__main__"] = main
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        sys.stderr.write(f"{sys.executable}: can't open file '{path}': {error}\n")
        return 2
    try:
        exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)  # noqa: S102
    except SystemExit as end:
        return _exit_code(end)
    except BaseException as error:
        own_frame = error.__traceback__
        _complain(type(error), error, own_frame.tb_next if own_frame else None)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _complain(kind: type, error: BaseException, traceback: TracebackType | None) -> None:
    error.__traceback__ = traceback
    try:
        sys.excepthook(kind, error, traceback)
    except BaseException:
        sys.__excepthook__(kind, error, traceback)


def _exit_code(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    sys.stderr.write(f"{end.code}\n")
    return 1


def finish() -> None:
    """What an interpreter does at its end, for what came after the fork only: threads, atexit, open files.

    The zygote's own thousands of objects are left to the kernel.
    """
    threads: Any = threading
    for step in (threads._shutdown, atexit._run_exitfuncs):
        try:
            step()
        except BaseException as error:
            _complain(type(error), error, error.__traceback__)


def close_files(modules: list[types.ModuleType]) -> None:
    """Let go of what these modules hold, so that files left open are written out, as at a normal end."""
    if threading.active_count() == 1:  # a daemon thread would trip over the missing names
        for module in modules:
            module.__dict__.clear()
        gc.collect()
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            continue


def gained(
    before: frozenset[str], left: int, packages: str
) -> tuple[list[str], list[types.ModuleType]]:
    """Names to learn among the modules loaded since `before`, and the modules that are the user's own.

    Only what lies below the folder `packages` may be learned, and the standard library (rule 13): whole
    packages first, then their public parts in the order of their import, which brings most of what lies deeper.
    `left` is how many of `before` there were when the script began.
    """
    learned, standard, own = [], [], [sys.modules["__main__"]]
    for name in _newest(before, left):
        module = sys.modules.get(name)
        if module is None:
            continue
        file = getattr(module, "__file__", None)
        if is_standard(name):
            standard.append(name)
        elif isinstance(file, str) and file.startswith(packages + os.sep):
            if _is_public(name):
                learned.append(name)
        elif isinstance(module, types.ModuleType) and not _of_interpreter(file):
            own.append(module)
    learned.sort(key=lambda name: name.count("."))
    learned += [name for name in standard if _is_public(name)]
    return _fitting(learned), own


def _fitting(names: list[str]) -> list[str]:
    left = _REPORTED
    for count, name in enumerate(names):
        left -= len(name) + 4  # quotes, comma, space
        if left < 0:
            return names[:count]
    return names


def _newest(before: frozenset[str], left: int) -> list[str]:
    """Names of modules that came after `before`, which are at the end unless a script removed some of those.

    Each name looked at costs a forked process a page of its own, so that a large library would cost thousands.
    """
    found: list[str] = []
    for name in reversed(sys.modules):
        if name in before:
            break
        found.append(name)
    if left + len(found) == len(sys.modules):
        return found[::-1]
    return [name for name in list(sys.modules) if name not in before]


def is_standard(name: str) -> bool:
    """Whether a module of this name is the standard library's, and no joke or test of it."""
    return name.partition(".")[0] in _STANDARD


def _is_public(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and not any(part[:1] == "_" for part in name.split("."))


def _of_interpreter(file: object) -> bool:
    return not isinstance(file, str) or file.startswith(
        (sys.base_prefix + os.sep, sys.prefix + os.sep)
    )
