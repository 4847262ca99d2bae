"""The permission algebra: nobody gains what neither side gave (orchestrator.md 5.1, 5.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import BadRequest
from orchestrator.rules import permissions
from protos.orchestrator.common_pb2 import NewPermissions, Permission
from tests.unit.orchestrator.budget import budget

ORGANIZATIONS = ["a", "b", "c", "d"]
NAMES = st.lists(st.sampled_from(ORGANIZATIONS), unique=True)
GIVEN = st.builds(
    lambda public, names: Permission(public=public, authorized_ids=names), st.booleans(), NAMES
)
ANYONE = st.sampled_from([*ORGANIZATIONS, "stranger"])


@budget(100)
@given(GIVEN, GIVEN, ANYONE)
def test_union_allows_exactly_whom_one_side_allows(
    one: Permission, other: Permission, who: str
) -> None:
    either = permissions.allows(one, who) or permissions.allows(other, who)
    assert permissions.allows(permissions.union(one, other), who) is either


@budget(100)
@given(GIVEN, GIVEN, ANYONE)
def test_intersection_is_never_wider_than_either(
    one: Permission, other: Permission, who: str
) -> None:
    both = permissions.allows(one, who) and permissions.allows(other, who)
    assert permissions.allows(permissions.intersection(one, other), who) is both


@budget(100)
@given(GIVEN, GIVEN)
def test_union_does_not_depend_on_the_order(one: Permission, other: Permission) -> None:
    left, right = permissions.union(one, other), permissions.union(other, one)
    assert (left.public, set(left.authorized_ids)) == (right.public, set(right.authorized_ids))


@budget(100)
@given(GIVEN, GIVEN)
def test_intersection_keeps_the_order_of_the_first_private_side(
    one: Permission, other: Permission
) -> None:
    result = permissions.intersection(one, other)
    order = list((other if one.public else one).authorized_ids)
    places = [order.index(name) for name in result.authorized_ids]
    assert places == sorted(places)


@budget(100)
@given(st.booleans(), NAMES, st.sampled_from(ORGANIZATIONS))
def test_owner_is_always_among_the_authorized(public: bool, names: list[str], owner: str) -> None:
    built = permissions.build(
        NewPermissions(public=public, authorized_ids=names), owner, ORGANIZATIONS
    )
    assert built.public is public
    assert list(built.authorized_ids) == names + ([] if owner in names else [owner])


def test_private_permission_names_only_registered_organizations() -> None:
    with pytest.raises(BadRequest, match="OE0003: invalid permission input values"):
        permissions.build(NewPermissions(authorized_ids=["x"]), "a", ["a"])


def test_public_permission_keeps_unknown_names_unchecked() -> None:
    built = permissions.build(NewPermissions(public=True, authorized_ids=["x"]), "a", ["a"])
    assert list(built.authorized_ids) == ["x", "a"]
