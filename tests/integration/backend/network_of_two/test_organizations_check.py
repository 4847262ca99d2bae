"""Each organization asks the others whether they accept it (deployment.md 7)."""

from sqlalchemy import text

from backend.access.organizations.check import check_all
from backend.access.organizations.secrets import set_outgoing

from .conftest import CHANNELS, Network


def test_organizations_that_share_their_secrets_accept_each_other(network: Network) -> None:
    for organization in (network.one, network.two):
        found = check_all(organization.node)
        assert [(checked.organization, checked.channel) for checked in found] == [
            (member, channel) for member in ("MyOrg1MSP", "MyOrg2MSP") for channel in CHANNELS
        ]
        assert all(checked.accepted for checked in found), found
        assert {checked.status for checked in found} == {404}


def test_member_without_a_secret_and_with_a_wrong_one(network: Network) -> None:
    node = network.two.node
    with node.database.transaction() as session:
        kept = session.connection().execute(text("SELECT secret FROM outgoing_organization"))
        assert kept.all()
        set_outgoing(session, node.settings, "MyOrg1MSP", "wrong", None)
    try:
        first = check_all(node)[0]
        assert (first.organization, first.status, first.accepted) == ("MyOrg1MSP", 401, False)
        assert first.cause == "our outgoing secret is not its incoming secret for MyOrg2MSP"
        assert first.url == network.one.url
    finally:
        with node.database.transaction() as session:
            set_outgoing(session, node.settings, "MyOrg1MSP", "s21", None)
    assert check_all(node)[0].accepted
