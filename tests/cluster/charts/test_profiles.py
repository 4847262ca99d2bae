"""Every development network of skaffold.yaml, rendered by helm, each object shown to the real API server."""

import pytest

from kuberay.transport import Connection
from tests.cluster.charts.helm import rendered
from tests.cluster.charts.taking import taken
from tests.unit.helm.profiles import profiles, releases


@pytest.mark.parametrize("profile", ["", *profiles()])
def test_api_server_takes_every_object_of_a_profile(connection: Connection, profile: str) -> None:
    for release in releases([profile] if profile else []):
        documents = rendered(release.chart, release.values, release.namespace, release.name)
        kinds = {document["kind"] for document in taken(connection, documents)}
        assert "Deployment" in kinds
