"""Secret stores: chainkeys by a plan's tag, from a folder and from Kubernetes."""

import base64
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from backend.ports.secrets import FolderSecrets, KubernetesSecrets, SecretStore


class FakeCluster:
    """A CoreV1Api with the Secrets of one namespace: label values to the key, in base64."""

    def __init__(self, keys: dict[tuple[str, str], bytes]) -> None:
        self.keys = {labels: base64.b64encode(key).decode() for labels, key in keys.items()}
        self.selectors: list[str] = []
        self.broken = False

    def list_namespaced_secret(self, namespace: str, label_selector: str) -> Any:
        assert namespace == "default"
        if self.broken:
            raise ApiException(status=403)
        self.selectors.append(label_selector)
        wanted = label_selector.partition(",")[0].removeprefix("compute_plan=")
        items = [
            SimpleNamespace(
                metadata=SimpleNamespace(name=f"{tag}-{index}", labels={"index": index}),
                data={"key": key} if key else {"key": ""},
            )
            for (tag, index), key in self.keys.items()
            if tag == wanted
        ]
        return SimpleNamespace(items=items)

    def patch_namespaced_secret(self, name: str, namespace: str, body: Any) -> None:
        tag, _, index = name.rpartition("-")
        self.keys[tag, index] = body["data"]["key"]


def in_folder(folder: Path, keys: dict[tuple[str, str], bytes]) -> SecretStore:
    for (tag, index), key in keys.items():
        (folder / tag).mkdir(exist_ok=True)
        (folder / tag / index).write_bytes(key)
    return FolderSecrets(folder)


def in_cluster(folder: Path, keys: dict[tuple[str, str], bytes]) -> SecretStore:
    return KubernetesSecrets(FakeCluster(keys), "default")


KEYS = {("study", "2"): b"\x00\x01\xff", ("study", "3"): b"three", ("other", "2"): b"else"}


@pytest.mark.parametrize("store", [in_folder, in_cluster])
def test_keys_are_found_by_tag_and_gone_once_erased(
    tmp_path: Path, store: Callable[..., SecretStore]
) -> None:
    secrets = store(tmp_path, KEYS)
    assert secrets.chainkeys("study") == {"2": b"\x00\x01\xff", "3": b"three"}
    secrets.erase("study")
    secrets.erase("study")
    assert secrets.chainkeys("study") == {}
    assert secrets.chainkeys("other") == {"2": b"else"}
    assert secrets.chainkeys("unknown") == {}


@pytest.mark.parametrize("tag", ["../other", "..", ".", "a/b", "/etc"])
def test_a_tag_never_leaves_the_folder(tmp_path: Path, tag: str) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "2").write_bytes(b"secret")
    assert FolderSecrets(tmp_path / "secrets").chainkeys(tag) == {}


def test_a_tag_that_no_label_can_have_asks_the_cluster_nothing() -> None:
    cluster = FakeCluster(KEYS)
    secrets = KubernetesSecrets(cluster, "default")
    for tag in ("study,other", "a b", "x" * 64, "study)", ""):
        assert secrets.chainkeys(tag) == {}
    assert cluster.selectors == []


def test_a_cluster_that_refuses_is_asked_again_later() -> None:
    cluster = FakeCluster(KEYS)
    cluster.broken = True
    with pytest.raises(OSError, match="403"):
        KubernetesSecrets(cluster, "default").chainkeys("study")
