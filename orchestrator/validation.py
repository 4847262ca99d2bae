"""Elementary rules of orchestrator.md 4.1. Each returns the reason why a value is not valid, or None."""

import re
from collections.abc import Iterable, Mapping

from google.protobuf.message import Message

from orchestrator.errors import Invalid, Malformed
from protos.orchestrator.common_pb2 import Addressable

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CHECKSUM = re.compile(r"[0-9a-fA-F]{64}")
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#:@\[\]\x00-\x1f.][^\s/?#:@\[\]\x00-\x1f]*)"
_STORAGE = re.compile(
    rf"(?P<scheme>(?:https?|ftp|tcp|udp|wss?)://)?(?:[^\s/?#@\x00-\x1f]+@)?(?P<host>{_HOST})"
    r"(?P<port>:\d{1,5})?(?:[/?#][^\s\x00-\x1f]*)?"
)
_REQUEST_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x1f]+")

LENGTH = 100
ADDRESS_LENGTH = 200  # characters: the original's column, narrower than its own rule of 2082

Reason = str | None
BLANK = "cannot be blank"


def is_key(value: str) -> bool:
    """Canonical lower-case UUID, any version."""
    return _UUID.fullmatch(value) is not None


def key(value: str) -> Reason:
    if not value:
        return BLANK
    return None if is_key(value) else "must be a valid UUID"


def keys(values: Iterable[str]) -> Reason:
    """Every element is a key; the reason names the places of those that are not."""
    return nested({str(place): key(value) for place, value in enumerate(values)})


def name(value: str) -> Reason:
    return BLANK if not value else at_most(value)


def at_most(value: str) -> Reason:
    """No more than 100 bytes; empty is fine."""
    if len(value.encode()) > LENGTH:
        return f"the length must be no more than {LENGTH}"
    return _nul(value)


def metadata(value: Mapping[str, str]) -> Reason:
    return nested({key_: at_most(key_) or at_most(text) for key_, text in value.items()})


def checksum(value: str) -> Reason:
    if not value:
        return BLANK
    return None if _CHECKSUM.fullmatch(value) else "must be 64 hexadecimal characters"


def storage_address(value: str) -> Reason:
    if not value:
        return BLANK
    if len(value) > ADDRESS_LENGTH:
        return f"the length must be no more than {ADDRESS_LENGTH}"
    match = _STORAGE.fullmatch(value)
    if len(value.encode()) < 4 or match is None:
        return "must be a valid URL"
    if not match["scheme"] and not match["port"] and "." not in match["host"]:
        return "must be a valid URL"
    return None


def addressable(value: Addressable) -> Reason:
    return nested(
        {
            "checksum": checksum(value.checksum),
            "storage_address": storage_address(value.storage_address),
        }
    )


def required_addressable(owner: Message, field: str) -> Reason:
    """An addressable that must be there, and is always checked as a whole."""
    if not owner.HasField(field):
        return BLANK
    return addressable(getattr(owner, field))


def required(owner: Message, field: str) -> Reason:
    return None if owner.HasField(field) else BLANK


def nested(reasons: Mapping[str, Reason]) -> Reason:
    """Reasons of a nested structure in parentheses, None when all of it is valid."""
    text = _sentence(reasons)
    return f"({text})" if text else None


def check(resource: str, reasons: Mapping[str, Reason]) -> None:
    """Raise Invalid with every reason, sorted by field."""
    text = _sentence(reasons)
    if text:
        raise Invalid(f"{resource} is not valid: {text}")


def organization_address(value: str) -> None:
    """Optional; else an absolute URI with a scheme.

    Raises:
        Malformed: with the bare reason, as the original words it without a code.
    """
    if not value:
        return
    if len(value) > ADDRESS_LENGTH:
        raise Malformed(f"address: the length must be no more than {ADDRESS_LENGTH}.")
    if not _REQUEST_URI.fullmatch(value):
        raise Malformed("address: must be a valid request URI.")


def stored_key(resource: str, value: str) -> str:
    """A key with which something is looked up.

    Raises:
        Malformed: it can be nobody's key.
    """
    if not is_key(value):
        raise Malformed(f'{resource}: "{value[:LENGTH]}" is not a valid key')
    return value


def _nul(value: str) -> Reason:
    return "must not contain the character NUL" if "\x00" in value else None


def _sentence(reasons: Mapping[str, Reason]) -> str:
    parts = [f"{field}: {reason}" for field, reason in sorted(reasons.items()) if reason]
    return "; ".join(parts) + "." if parts else ""
