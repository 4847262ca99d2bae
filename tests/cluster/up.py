"""`make cluster-up`: the development network of skaffold.yaml in the tests' cluster, to play with.

Images come from its registry; what is built there begins with `tests.cluster.slim`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from kuberay.transport import Connection
from network.demo.main import main as demo
from tests.cluster.charts.helm import helm
from tests.cluster.charts.release import image, install
from tests.cluster.charts.services import services_image
from tests.cluster.charts.values import kaniko, registry
from tests.cluster.conftest import NODE
from tests.cluster.slim import slim_image
from tests.unit.helm.profiles import Release, merged, releases

DESCRIPTION = Path("cluster-network.json")


def here(release: Release, services: str) -> dict[str, Any]:
    """The release's values with this cluster's images and registry."""
    mine: dict[str, Any] = {"image": image(), "postgresql": {"image": services}}
    if release.chart == "substra-backend":
        mine |= {
            "minio": {"image": services},
            "dockerRegistry": {"enabled": False},
            "containerRegistry": registry(f"cluster-up/{release.namespace}"),
            "kaniko": kaniko(),
            "builder": {"egress": [{"to": [{"ipBlock": {"cidr": f"{NODE}/32"}}]}]},
        }
    return dict(merged(release.values, mine))


def up(found: list[Release]) -> None:
    slim_image()
    services = services_image()
    for release in found:
        install(release.name, release.chart, release.namespace, here(release, services))
    connection = Connection.from_kubeconfig()
    organizations = []
    for release in found:
        if release.chart != "substra-backend":
            continue
        path = (
            f"/api/v1/namespaces/{release.namespace}/services/{release.name}-{release.chart}-server"
        )
        spec = connection.request("GET", path)["spec"]
        user = release.values["addAccountOperator"]["users"][0]
        organizations.append(
            {
                "name": release.namespace,
                "url": f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}",
                "username": user["name"],
                "password": user["secret"],
            }
        )
    connection.close()
    DESCRIPTION.write_text(json.dumps({"organizations": organizations}, indent=2) + "\n", "utf-8")
    for organization in organizations:
        say("{name}: {url}, user {username}, password {password}".format(**organization))
    say(
        f"This stands in {DESCRIPTION}. make cluster-demo trains on it, make cluster-down removes it."
    )


def down(found: list[Release]) -> None:
    """Remove the releases and their namespaces."""
    for release in reversed(found):
        place = ("--namespace", release.namespace)
        helm("uninstall", release.name, *place, "--wait", "--ignore-not-found")
    connection = Connection.from_kubeconfig()
    for namespace in sorted({release.namespace for release in found}):
        connection.request("DELETE", f"/api/v1/namespaces/{namespace}")
    connection.close()
    DESCRIPTION.unlink(missing_ok=True)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="A network in the tests' cluster.")
    parser.add_argument("--down", action="store_true", help="remove it")
    parser.add_argument("--demo", action="store_true", help="run the demo on it")
    given = parser.parse_args()
    found = releases([])
    if given.demo:
        raise SystemExit(demo(json.loads(DESCRIPTION.read_text("utf-8"))))
    if given.down:
        down(found)
    else:
        up(found)


if __name__ == "__main__":
    main()
