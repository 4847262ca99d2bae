"""Which base images the embedded builder stands in for, and what each brings (compute.md 13.3)."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

SYSTEM_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_REGISTRY = re.compile(r"^(docker\.io/|index\.docker\.io/)?(library/)?")
_TAG = re.compile(r"^(?P<name>[^:@]+)(?::(?P<tag>[^@]+))?(?:@sha256:[0-9a-f]{64})?$")


class BaseError(ValueError):
    """FROM names an image that the embedded mode has no stand-in for."""


@dataclass(frozen=True, slots=True)
class Base:
    """A stand-in: an environment of Python `python` ("3.11"), then `packages` installed into it."""

    image: str
    python: str
    workdir: str = "/"
    packages: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def base_of(image: str, instructions: Sequence[tuple[str, str]]) -> Base:
    """The stand-in for `image`; `instructions` (name, text) tell the Python of a base that has none.

    Raises:
        BaseError: the image is none of python, nvidia/cuda, ghcr.io/substra/substra-tools.
    """
    found = _TAG.match(_REGISTRY.sub("", image))
    if found is None:
        raise BaseError(f"FROM: invalid reference format: {image!r}")
    name, tag = found["name"], found["tag"] or "latest"
    if name == "python":
        return _python(image, tag)
    if name == "nvidia/cuda":
        return _cuda(image, instructions)
    if name in ("ghcr.io/substra/substra-tools", "substra/substra-tools"):
        return _substratools(image, tag, instructions)
    raise BaseError(
        f"FROM {image} is not supported in embedded mode (supported: python:X.Y[-slim], nvidia/cuda, "
        "ghcr.io/substra/substra-tools)"
    )


def _python(image: str, tag: str) -> Base:
    found = re.match(r"^(\d+\.\d+)(\.\w+)?(-|$)", tag)
    notes: list[str] = []
    if "windows" in tag or "alpine" in tag:
        raise BaseError(f"FROM {image} is not supported in embedded mode: use python:X.Y-slim")
    if found:
        version = found[1]
        if found[2]:
            notes.append(f"{image}: any patch release of Python {version} serves")
    elif re.match(r"^(3|latest|slim|bookworm|bullseye|trixie)\b", tag):
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        notes.append(f"{image} names no version X.Y: Python {version} is taken")
    else:
        raise BaseError(f"FROM {image} is not supported in embedded mode: use python:X.Y[-slim]")
    environment = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"}
    return Base(image, version, environment=environment, notes=tuple(notes))


def _cuda(image: str, instructions: Sequence[tuple[str, str]]) -> Base:
    version = _named_version(instructions)
    if version is None:
        raise BaseError(
            f"FROM {image}: no Python version found; name it in the ENTRYPOINT (python3.11) or "
            "install it by apt"
        )
    note = "system packages and CUDA come from this machine, not from the base image"
    return Base(image, version, environment={"PATH": SYSTEM_PATH}, notes=(note,))


def _substratools(image: str, tag: str, instructions: Sequence[tuple[str, str]]) -> Base:
    found = re.search(r"python(\d+\.\d+)", tag)
    version = found[1] if found else _named_version(instructions)
    notes: tuple[str, ...] = ()
    if version is None:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        notes = (f"{image} names no Python version: {version} is taken",)
    return Base(
        image,
        version,
        workdir="/sandbox",
        packages=("substratools",),
        environment={"PATH": SYSTEM_PATH, "PYTHONPATH": "/sandbox"},
        notes=notes,
    )


def _named_version(instructions: Sequence[tuple[str, str]]) -> str | None:
    for wanted in ("ENTRYPOINT", "RUN"):
        for name, text in instructions:
            found = re.search(r"\bpython(3\.\d+)\b", text) if name == wanted else None
            if found:
                return found[1]
    return None
