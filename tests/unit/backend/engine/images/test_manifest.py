"""Manifests from anywhere: exact bytes, digests, limits."""

import json

import pytest

from backend.engine.images.manifest import BadImage, Layer, compose, parse

DIGEST = "sha256:" + "a" * 64


def document(**changes: object) -> bytes:
    manifest = compose(
        python="3.11",
        env={"PATH": "/usr/bin"},
        workdir="/w",
        entrypoint=("python3", "f.py"),
        layers=(Layer(DIGEST, 10, True), Layer(DIGEST, 20, False)),
    )
    return json.dumps({**json.loads(manifest.content), **changes}).encode()


def test_a_manifest_keeps_its_exact_bytes() -> None:
    content = document().replace(b", ", b" ,  ")
    manifest = parse(content)
    assert manifest.content == content
    assert [layer.environment for layer in manifest.layers] == [True, False]
    assert manifest.environment_layers == (Layer(DIGEST, 10, True),)
    assert manifest.upper_layers == (Layer(DIGEST, 20, False),)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"python": "3.11; rm"},
        {"python": 3.11},
        {"env": {"A=B": "x"}},
        {"env": {"A": 1}},
        {"env": {"A": "\0"}},
        {"workdir": "w"},
        {"workdir": "/../x"},
        {"entrypoint": []},
        {"entrypoint": "python"},
        {"layers": []},
        {"layers": [{"digest": "sha256:../x", "size": 1, "environment": True}]},
        {"layers": [{"digest": DIGEST, "size": -1, "environment": True}]},
        {"layers": [{"digest": DIGEST, "size": True, "environment": True}]},
        {"layers": [{"digest": DIGEST, "size": 1, "environment": 1}]},
        {"layers": [{"digest": DIGEST, "size": 1, "environment": False}]},
        {"layers": [1]},
        {"layers": [{"digest": DIGEST, "size": 1, "environment": True}] * 1000},
    ],
)
def test_malformed_manifests_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadImage):
        parse(document(**changes))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b" " * (1 << 21)])
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(BadImage):
        parse(content)
