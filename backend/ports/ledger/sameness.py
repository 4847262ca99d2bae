"""Registrations whose answer was lost: is what the ledger holds what was sent? (rule 5)

A key is refused the second time (`OE0006`), so a repeated call cannot say whether the first one came through.
What is stored can.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from backend.ports.ledger.errors import LedgerError
from protos.orchestrator.common_pb2 import NewPermissions, Permission, Permissions

R = TypeVar("R")
_STORED_AS = {"new_permissions": "permissions"}
_NEVER_STORED = ("type", "test_only")  # orchestrator.md 3


def registered(
    register: Callable[[], R],
    stored: Callable[[], R],
    is_ours: Callable[[R], bool],
    *,
    ended: bool = False,
) -> R:
    """The answer of a registration; after a lost one what is stored, when it is what was sent.

    Args:
        register: the call, repeated while the ledger cannot be reached.
        stored: asks the ledger by key for what `register` answers.
        is_ours: whether that is what was sent.
        ended: the registration moves its asset to a final status, so that its repetition is refused for that.

    Raises:
        LedgerError: of `register`, unless what is stored is ours.
    """
    try:
        return register()
    except LedgerError as error:
        if not (error.maybe_ours or (ended and error.repeated)):
            raise
        try:
            found = stored()
        except LedgerError:
            raise error from None
        if not is_ours(found):
            raise
        return found


def is_same(sent: Message, stored: Any, owner: str) -> bool:
    """Whether `stored` is what comes of registering `sent` as `owner`.

    Fields that the stored form does not have cannot differ. What the ledger adds (dates, status, rank, the
    owner among the authorized) is not looked at.
    """
    if getattr(stored, "owner", owner) != owner:
        return False
    return _fits(sent, stored, owner)


def _fits(sent: Message, stored: Any, owner: str) -> bool:
    known = stored.DESCRIPTOR.fields_by_name
    for field in sent.DESCRIPTOR.fields:
        name = _STORED_AS.get(field.name, field.name)
        if name not in known or name in _NEVER_STORED:
            continue
        ours, theirs = getattr(sent, field.name), getattr(stored, name)
        if name == "worker" and not ours:
            continue  # the ledger finds the owner of the data
        if name == "address" and not stored.HasField("address"):
            continue  # a transient model that was given up meanwhile
        if not _equal(ours, theirs, owner):
            return False
    return True


def _equal(ours: Any, theirs: Any, owner: str) -> bool:
    if isinstance(ours, NewPermissions):
        return _permits(ours, theirs, owner)
    if isinstance(ours, Message):
        return ours == theirs if type(ours) is type(theirs) else _fits(ours, theirs, owner)
    if isinstance(ours, float):
        return ours == theirs or (math.isnan(ours) and math.isnan(theirs))
    if hasattr(ours, "items"):
        same = set(ours) == set(theirs)
        return same and all(_equal(value, theirs[key], owner) for key, value in ours.items())
    return bool(ours == theirs)


def _permits(sent: NewPermissions, stored: Permission | Permissions, owner: str) -> bool:
    """The ledger adds the owner, and nobody else."""
    given = stored.process if isinstance(stored, Permissions) else stored
    wanted = set(sent.authorized_ids)
    return sent.public == given.public and wanted <= set(given.authorized_ids) <= wanted | {owner}
