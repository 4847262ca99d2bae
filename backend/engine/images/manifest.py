"""The manifest of an image: what it runs, and the layers that make it. Its exact bytes are its identity."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 1 << 20
MOST_LAYERS = 512
MOST_LAYER_BYTES = 64 << 30
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_VERSION = re.compile(r"3\.\d{1,2}")


class BadImage(ValueError):
    """A manifest or layer breaks the format, its digest or a limit: it is never accepted."""


@dataclass(frozen=True, slots=True)
class Layer:
    """`environment` layers are the state up to the last RUN that changed a file (rule 37)."""

    digest: str
    size: int
    environment: bool

    @property
    def hex(self) -> str:
        return self.digest.removeprefix("sha256:")


@dataclass(frozen=True, slots=True)
class Manifest:
    """`python` is "X.Y"; `env`, `workdir` and `entrypoint` hold image paths. `content` is the exact bytes."""

    python: str
    env: dict[str, str]
    workdir: str
    entrypoint: tuple[str, ...]
    layers: tuple[Layer, ...]
    content: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the exact bytes, bare hex: `image.checksum` on the ledger (rule 43)."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def environment_layers(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if layer.environment)

    @property
    def upper_layers(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if not layer.environment)


def compose(
    *,
    python: str,
    env: dict[str, str],
    workdir: str,
    entrypoint: tuple[str, ...],
    layers: tuple[Layer, ...],
) -> Manifest:
    """A manifest written for the first time: the same parts give the same bytes."""
    document = {
        "schema": 1,
        "python": python,
        "env": env,
        "workdir": workdir,
        "entrypoint": list(entrypoint),
        "layers": [
            {"digest": layer.digest, "size": layer.size, "environment": layer.environment}
            for layer in layers
        ],
    }
    content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return Manifest(python, env, workdir, entrypoint, layers, content)


def parse(content: bytes) -> Manifest:
    """Read a manifest that anybody may have written.

    Raises:
        BadImage: too large, malformed, or with paths or sizes that no builder writes.
    """
    if len(content) > MOST_BYTES:
        raise BadImage("the manifest is too large")
    try:
        document = json.loads(content)
        manifest = _read(document, content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, BadImage):
            raise
        raise BadImage("the manifest is malformed") from None
    return manifest


def _read(document: dict[str, Any], content: bytes) -> Manifest:
    env, workdir, words = document["env"], document["workdir"], document["entrypoint"]
    layers = tuple(_layer(entry) for entry in document["layers"])
    _require(document["schema"] == 1, "unknown schema of manifest")
    _require(bool(_VERSION.fullmatch(document["python"])), "unknown version of Python")
    _require(
        all(_text(name) and name and "=" not in name and _text(env[name]) for name in env),
        "bad env",
    )
    _require(_text(workdir) and workdir.startswith("/"), "the working folder is not absolute")
    _require(".." not in workdir.split("/"), "the working folder leaves the image")
    _require(isinstance(words, list) and bool(words) and all(map(_text, words)), "bad entry point")
    _require(0 < len(layers) <= MOST_LAYERS, "bad number of layers")
    above = [layer.environment for layer in layers]
    _require(above == sorted(above, reverse=True) and above[0], "environment layers come first")
    return Manifest(document["python"], dict(env), workdir, tuple(words), layers, content)


def _layer(entry: dict[str, Any]) -> Layer:
    digest, size, environment = entry["digest"], entry["size"], entry["environment"]
    _require(bool(_DIGEST.fullmatch(digest)), "bad digest of a layer")
    _require(type(size) is int and 0 < size <= MOST_LAYER_BYTES, "bad size of a layer")
    _require(isinstance(environment, bool), "bad kind of layer")
    return Layer(digest, size, environment)


def _text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise BadImage(text)
