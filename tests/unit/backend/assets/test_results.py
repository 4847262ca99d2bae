"""Small pure rules about results: float digits, durations, who may have a model."""

import struct
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.access.caller import Caller
from backend.assets.models.access import Granted, check_download
from backend.assets.performances.events import shortest
from backend.assets.profiling.durations import microseconds
from backend.kit.errors import PermissionDenied

NOBODY, ALL = Granted(public=False, authorized_ids=()), Granted(public=True, authorized_ids=())
TWO = Granted(public=False, authorized_ids=("two",))
USER = Caller(organization="one", channel="c", user_id=1)
WORKER = Caller(organization="two", channel="c", is_organization=True)
PROXY = Caller(organization="two", channel="c", is_organization=True, proxied=True)


@given(st.floats(width=32, allow_nan=False))
def test_fewest_digits_are_the_same_number_on_the_wire(value: float) -> None:
    assert struct.pack("<f", shortest(value)) == struct.pack("<f", value)


def test_fewest_digits_of_a_third() -> None:
    assert shortest(struct.unpack("<f", struct.pack("<f", 0.3))[0]) == 0.3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00:00:01", 1_000_000),
        ("0:01:00.5", 60_500_000),
        ("1 00:00:00.000001", 86_400_000_001),
        ("1.5", None),
        ("", None),
        ("-1:00:00", None),
        ("1:00:00.1234567", None),
    ],
)
def test_durations_of_the_internal_routes(text: str, expected: int | None) -> None:
    assert microseconds(text) == expected


@pytest.mark.parametrize(
    ("caller", "process", "download", "export", "allowed"),
    [
        (WORKER, TWO, NOBODY, False, True),
        (WORKER, NOBODY, ALL, True, False),
        (PROXY, NOBODY, TWO, True, True),
        (PROXY, NOBODY, TWO, False, False),
        (PROXY, TWO, NOBODY, True, False),
        (USER, NOBODY, ALL, True, True),
        (USER, ALL, TWO, True, False),
        (USER, ALL, ALL, False, False),
    ],
)
def test_three_cases_of_a_model_download(
    caller: Caller, process: Granted, download: Granted, export: bool, allowed: bool
) -> None:
    check = partial(
        check_download, caller, "one", process=process, download=download, export_enabled=export
    )
    if allowed:
        check()
    else:
        with pytest.raises(PermissionDenied):
            check()
