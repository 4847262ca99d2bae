"""Permissions: how they are built and combined (orchestrator.md 5.1, 5.2)."""

from collections.abc import Container

from orchestrator.errors import BadRequest
from protos.orchestrator.common_pb2 import NewPermissions, Permission, Permissions


def build(new: NewPermissions, owner: str, registered: Container[str]) -> Permission:
    """The permission that an owner gives: the owner always is among the authorized.

    Raises:
        BadRequest: a private permission names an organization that is not registered in the channel.
    """
    if not new.public:
        unknown = [name for name in new.authorized_ids if name not in registered]
        if unknown:
            raise BadRequest(f"invalid permission input values: unknown organizations {unknown}")
    authorized = list(new.authorized_ids)
    if owner not in authorized:
        authorized.append(owner)
    return Permission(public=new.public, authorized_ids=authorized)


def build_both(new: NewPermissions, owner: str, registered: Container[str]) -> Permissions:
    """Process and download: from one input, always equal."""
    permission = build(new, owner, registered)
    return Permissions(process=permission, download=permission)


def allows(permission: Permission, organization: str) -> bool:
    return permission.public or organization in permission.authorized_ids


def union(one: Permission, other: Permission) -> Permission:
    """Whoever one of the two allows."""
    if one.public or other.public:
        return Permission(public=True)
    names = dict.fromkeys([*one.authorized_ids, *other.authorized_ids])
    return Permission(authorized_ids=names)


def intersection(one: Permission, other: Permission) -> Permission:
    """Whoever both allow, in the order of the first private side."""
    if one.public and other.public:
        return Permission(public=True)
    if one.public:
        return Permission(authorized_ids=other.authorized_ids)
    if other.public:
        return Permission(authorized_ids=one.authorized_ids)
    both = set(other.authorized_ids)
    return Permission(authorized_ids=[name for name in one.authorized_ids if name in both])
