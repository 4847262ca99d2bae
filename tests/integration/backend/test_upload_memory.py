"""Memory stays flat while large uploads arrive; `python -m bench.uploads` is the same with 10 times 2 GB."""

from pathlib import Path

from bench.uploads import GOAL_MB, MB, measure, running_api


def test_ten_uploads_at_once_leave_memory_flat(postgres: str, tmp_path: Path) -> None:
    with running_api(postgres, tmp_path) as api:
        found = measure(api, count=10, size=24 * MB)
    assert found.growth < GOAL_MB
    samples = list((tmp_path / "medias/objects/datasamples").iterdir())
    assert len(samples) == 11
    assert list((tmp_path / "medias/incoming").iterdir()) == []
