"""Chainkeys of a plan: taken once, never lost between the store and the disk."""

import json
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from backend.engine.compute.chainkeys import Chainkeys, keep
from backend.ports.secrets import FolderSecrets


class Dying(FolderSecrets):
    """A store whose process dies before, or after, it was erased."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.dies = ""

    def erase(self, tag: str) -> None:
        if self.dies == "before":
            raise KeyboardInterrupt
        super().erase(tag)
        if self.dies == "after":
            raise KeyboardInterrupt


@pytest.fixture
def store(tmp_path: Path) -> Dying:
    (tmp_path / "secrets" / "study").mkdir(parents=True)
    (tmp_path / "secrets" / "study" / "2").write_bytes(b"\x01\x02")
    return Dying(tmp_path / "secrets")


def content(folder: Path) -> object:
    return json.loads((folder / "chainkeys.json").read_text())


def test_the_first_task_takes_them_and_the_store_forgets(tmp_path: Path, store: Dying) -> None:
    keys, plan = Chainkeys(tmp_path / "medias", store), uuid4()
    folder = keys.bring(plan, "study")
    assert content(folder) == {"chain_keys": {"2": [1, 2]}}
    assert (folder / "chainkeys.json").stat().st_mode & 0o077 == 0
    assert store.chainkeys("study") == {}
    assert keys.bring(plan, "study") == folder
    with pytest.raises(OSError, match="no chainkeys"):
        keys.bring(uuid4(), "study")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_while_the_store_is_erased_loses_no_key(
    tmp_path: Path, store: Dying, moment: str
) -> None:
    plan = uuid4()
    store.dies = moment
    with pytest.raises(KeyboardInterrupt):
        Chainkeys(tmp_path / "medias", store).bring(plan, "study")
    store.dies = ""
    again = Chainkeys(tmp_path / "medias", store)
    assert list(again.plans()) == []
    assert content(again.bring(plan, "study")) == {"chain_keys": {"2": [1, 2]}}
    assert store.chainkeys("study") == {}


def test_only_plans_with_a_tag_get_them_and_only_where_they_are_on(
    tmp_path: Path, store: Dying
) -> None:
    assert Chainkeys(tmp_path, store).wanted("study")
    assert not Chainkeys(tmp_path, store).wanted("")
    assert not Chainkeys(tmp_path, None).wanted("study")


def test_what_a_task_gave_back_is_what_the_next_one_sees(tmp_path: Path, store: Dying) -> None:
    keys, plan = Chainkeys(tmp_path / "medias", store), uuid4()
    target, source = keys.bring(plan, "study"), tmp_path / "outbox"
    source.mkdir()
    (source / "chainkeys.json").write_text('{"chain_keys": {}}')
    keep(source, target)
    keep(source, target)  # its report is repeated
    assert content(keys.bring(plan, "study")) == {"chain_keys": {}}
    assert list(keys.plans()) == [plan]
    keys.forget(plan)
    assert list(keys.plans()) == []


def test_a_crash_between_two_renames_of_a_report_is_made_good(tmp_path: Path, store: Dying) -> None:
    keys, plan = Chainkeys(tmp_path / "medias", store), UUID(int=1)
    target, source = keys.bring(plan, "study"), tmp_path / "outbox"
    source.mkdir()
    (source / "chainkeys.json").write_text('{"chain_keys": {"3": [3]}}')
    target.rename(target.with_name(f".{target.name}.old"))
    assert list(keys.plans()) == []
    keep(source, target)
    assert content(target) == {"chain_keys": {"3": [3]}}
