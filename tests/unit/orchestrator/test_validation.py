"""Elementary validation (orchestrator.md 4.1) and the shape of its text (2.6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import validation as v
from orchestrator.errors import Invalid, Malformed
from protos.orchestrator.common_pb2 import Addressable
from protos.orchestrator.function_pb2 import NewFunction
from tests.unit.orchestrator import requests as r
from tests.unit.orchestrator.budget import budget


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "A0000000-0000-0000-0000-000000000000",
        "0" * 32,
        "00000000-0000-0000-0000-00000000000g",
    ],
)
def test_a_key_is_a_lower_case_uuid(value: str) -> None:
    assert v.key(value) is not None


def test_any_version_of_uuid_is_a_key() -> None:
    assert v.key("00000000-0000-0000-0000-000000000000") is None


@pytest.mark.parametrize(
    ("value", "valid"), [("", False), (" ", True), ("é" * 50, True), ("é" * 51, False)]
)
def test_names_are_counted_in_bytes_and_not_trimmed(value: str, valid: bool) -> None:
    assert (v.name(value) is None) is valid


@pytest.mark.parametrize(
    "value",
    [
        "http://host/path",
        "https://h:80/p?q=1#f",
        "ftp://h/x",
        "ws://h",
        "http://user@h/x",
        "host.tld/x",
        "h.io",
        "host:80/x",
        "http://127.0.0.1:8000/org-1/function/k/file/",
        "http://[::1]:80/x",
        "http://a_b-c/x",
    ],
)
def test_storage_addresses_that_pass(value: str) -> None:
    assert v.storage_address(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "abc",
        "a.b",
        ".host.tld",
        "http://",
        "http:///x",
        "host",
        "gopher://h/x",
        "http://h/a b",
        "http://.h/",
        "http://h/\x00",
    ],
)
def test_storage_addresses_that_are_refused(value: str) -> None:
    assert v.storage_address(value) is not None


def test_storage_addresses_are_limited_to_the_column_of_the_original() -> None:
    assert v.storage_address("http://h/" + "x" * 191) is None
    assert v.storage_address("http://h/" + "x" * 192) is not None


@pytest.mark.parametrize(
    "value", ["", "http://a.b:1/org-1", "host:80", "x:y", "http://h/" + "x" * 191]
)
def test_organization_addresses_that_pass(value: str) -> None:
    v.organization_address(value)
    assert len(value) <= v.ADDRESS_LENGTH


@pytest.mark.parametrize("value", ["/path", "host", "http://a b", "http://h/" + "x" * 192])
def test_organization_addresses_that_are_refused_without_a_code(value: str) -> None:
    with pytest.raises(Malformed) as refusal:
        v.organization_address(value)
    assert not str(refusal.value).startswith("OE")


def test_reasons_are_sorted_separated_and_end_with_a_full_stop() -> None:
    request = NewFunction(name="x" * 101, archive=Addressable(checksum="1", storage_address="h.t"))
    with pytest.raises(Invalid) as refusal:
        v.check(
            "function",
            {
                "name": v.name(request.name),
                "key": v.key(request.key),
                "archive": v.required_addressable(request, "archive"),
                "description": v.required_addressable(request, "description"),
            },
        )
    assert str(refusal.value) == (
        "OE0101: function is not valid: archive: (checksum: must be 64 hexadecimal characters; "
        "storage_address: must be a valid URL.); description: cannot be blank; key: cannot be blank; "
        "name: the length must be no more than 100."
    )


def test_a_whole_addressable_passes() -> None:
    assert v.addressable(r.address()) is None


@budget(100)
@given(st.text(max_size=300))
def test_any_text_gets_an_answer(value: str) -> None:
    reasons = [v.key(value), v.name(value), v.checksum(value), v.storage_address(value)]
    assert all(reason is None or reason for reason in reasons)
