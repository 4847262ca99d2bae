"""A release that has run plans is removed, and leaves nothing."""

from tests.cluster.network.installed import Network
from tests.cluster.network.test_plan import WAIT_S, built
from tests.e2e.playground import Playground
from tests.e2e.waiting import wait_for

KINDS = ("apis/ray.io/v1/rayclusters", "api/v1/pods", "api/v1/secrets", "api/v1/services")


def test_uninstalled_it_leaves_nothing(network: Network, playground: Playground) -> None:
    organization = network.organizations[0]
    built(playground, "linger")
    assert any("fn-" in name for name in network.names(organization.compute, KINDS[2]))
    network.uninstall(organization)
    for path in KINDS:
        wait_for(
            lambda path=path: not network.names(organization.compute, path),  # type: ignore[misc]
            f"no {path} is left",
            WAIT_S,
        )
    assert [network.names(organization.compute, path) for path in KINDS] == [set()] * len(KINDS)
