"""Settings reach the runner under the names that it reads."""

import json
from pathlib import Path

import pytest

from backend.engine.compute.runner_options import runner_options
from backend.settings import Settings
from ray_jobs.session import Session


def session(tmp_path: Path, **settings: object) -> Session:
    options = runner_options(Settings.model_validate({"MSP_ID": "MyOrg1MSP", **settings}))
    given = {"session": "s", "url": "http://h", "organization": "org-1", "token": "t"}
    path = tmp_path / "session.json"
    path.write_text(json.dumps({**given, "run_folder": "/r", "outbox": "/o", **options}))
    return Session.read(path)


def test_every_option_is_one_that_the_runner_knows() -> None:
    options = runner_options(Settings.model_validate({"MSP_ID": "MyOrg1MSP"}))
    assert set(options) <= set(Session.__dataclass_fields__)


def test_defaults_are_those_of_the_runner(tmp_path: Path) -> None:
    found = session(tmp_path)
    fields = Session.__dataclass_fields__
    same = set(runner_options(Settings.model_validate({"MSP_ID": "MyOrg1MSP"}))) - {"limits"}
    assert {name: getattr(found, name) for name in same} == {
        name: fields[name].default for name in same
    }
    assert found.limits == {"processes": 4096}


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("FUNCTION_SHARED_MEMORY_BYTES", "shared_memory_bytes", 1 << 20),
        ("FUNCTION_OUTPUT_BYTES", "output_bytes", 5),
        ("FUNCTION_DISK_RESERVE_BYTES", "disk_reserve_bytes", 6),
        ("FUNCTION_LOG_HEAD_BYTES", "log_head_bytes", 7),
        ("FUNCTION_LOG_TAIL_BYTES", "log_tail_bytes", 8),
        ("ZYGOTES", "zygotes", 9),
        ("ZYGOTES_MEMORY_BYTES", "zygotes_memory_bytes", 10),
        ("ZYGOTES_IDLE_S", "zygotes_idle_s", 11.0),
    ],
)
def test_a_setting_arrives(tmp_path: Path, name: str, field: str, value: float) -> None:
    assert getattr(session(tmp_path, **{name: value}), field) == value


def test_limits_of_zero_are_none(tmp_path: Path) -> None:
    found = session(tmp_path, FUNCTION_PROCESSES=0, FUNCTION_FILE_BYTES=12)
    assert found.limits == {"file_bytes": 12}
