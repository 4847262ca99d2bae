"""Chainkeys of compute plans (compute.md 6): taken from the secret store once, passed on from task to task.

    <MEDIA_ROOT>/chainkeys/<plan>/chainkeys.json        what the plan's next task sees
    <MEDIA_ROOT>/chainkeys/<plan>.taken/                read from the store, which still has to be erased

Each success replaces the folder by what its task left, so the tasks of such a plan run one after the other.
"""

import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from backend.ports.secrets import SecretStore
from backend.ports.storage.spooling import sync

FILE = "chainkeys.json"
TAKEN = ".taken"


class Chainkeys:
    """Those of one organization. `store` is opened when the first plan needs it."""

    def __init__(self, media: Path, store: SecretStore | None) -> None:
        """No `store`: chainkeys are off."""
        self._folder = media / "chainkeys"
        self._store = store
        self._lock = threading.Lock()

    def wanted(self, tag: str) -> bool:
        """Whether the tasks of a plan with this tag get chainkeys."""
        return bool(tag) and self._store is not None

    def bring(self, plan: UUID, tag: str) -> Path:
        """The plan's folder; made from the secret store when it is the first time.

        Raises:
            OSError: not now, or nobody put keys with this tag there.
        """
        assert self._store is not None
        target = self._folder / str(plan)
        with self._lock:
            if not target.is_dir():
                self._take(self._store, target, tag)
        return target

    def _take(self, store: SecretStore, target: Path, tag: str) -> None:
        """Written and flushed before the store is erased: a crash between loses no key."""
        taken = target.with_name(target.name + TAKEN)
        if not taken.is_dir():
            keys = store.chainkeys(tag)
            if not keys:
                raise OSError(f"there are no chainkeys with the tag {tag[:100]!r}")
            content = {"chain_keys": {index: list(key) for index, key in sorted(keys.items())}}
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            beside = self._folder / f".{uuid.uuid4().hex}"
            beside.mkdir(mode=0o700)
            file = os.open(beside / FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "w", encoding="ascii") as writer:
                json.dump(content, writer)
                writer.flush()
                os.fsync(writer.fileno())
            sync(beside)
            beside.rename(taken)
            sync(self._folder)
        store.erase(tag)
        taken.rename(target)

    def plans(self) -> Iterator[UUID]:
        """Plans whose chainkeys are here."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if not path.name.startswith(".") and not path.name.endswith(TAKEN):
                    yield UUID(path.name)

    def forget(self, plan: UUID) -> None:
        """The plan is over."""
        shutil.rmtree(self._folder / str(plan), ignore_errors=True)


def keep(source: Path, target: Path) -> None:
    """What a task made of its plan's chainkeys is what the next one sees; done before is as good."""
    if not source.is_dir():
        return
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.is_dir():
        target.rename(old)
    source.rename(target)
    shutil.rmtree(old, ignore_errors=True)
