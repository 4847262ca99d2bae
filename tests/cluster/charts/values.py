"""Values of the charts as these tests install them: small, and without anything from the internet."""

from typing import Any

from tests.cluster.charts.conftest import Database
from tests.cluster.charts.release import image
from tests.cluster.conftest import REGISTRY
from tests.cluster.storage.minio_server import MinioServer

CHANNEL = "mychannel"
LEDGER = "ledger"  # the release
PORT = 8000


def small(memory: str = "1Gi") -> dict[str, dict[str, str]]:
    """Resources that fit any machine, up to a limit of memory."""
    return {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": memory}}


def of_ledger(*members: str) -> dict[str, Any]:
    """A ledger of one channel; its database is still to be said."""
    return {
        "image": image(),
        "channels": [{"name": CHANNEL, "organizations": list(members)}],
        "resources": small(),
    }


def ledger_database(database: Database, secret: str) -> dict[str, Any]:
    """One outside, whose user a Secret names."""
    place = {"host": database.host, "port": database.port, "name": database.name}
    return {"database": {**place, "credentialsSecretName": secret}}


def of_organization(number: int, domain: str) -> dict[str, Any]:
    """One API pod, and a user as in the tutorials; database and store are still to be said."""
    return {
        "image": image(),
        "organizationName": f"MyOrg{number}",
        "orchestrator": {
            "mspID": f"MyOrg{number}MSP",
            "host": f"{LEDGER}-server",
            "channels": [{CHANNEL: {"model_export_enabled": True}}],
        },
        "server": {"replicaCount": 1, "defaultDomain": domain, "resources": small()},
        "control": {"resources": small()},
        "addAccountOperator": {
            "users": [
                {"name": f"org-{number}", "secret": f"p@sswr0d{43 + number}", "channel": CHANNEL}
            ]
        },
    }


def outside(database: Database, secret: str, store: MinioServer, bucket: str) -> dict[str, Any]:
    """A PostgreSQL and an S3 store of the operator; Secrets `secret` and `store` have their users."""
    return {
        "database": {
            "host": database.host,
            "port": database.port,
            "database": database.name,
            "auth": {"credentialsSecretName": secret},
        },
        "objectStore": {"url": store.address, "bucket": bucket, "credentialsSecretName": "store"},
    }


def kaniko() -> dict[str, Any]:
    """The builder; names without a host are looked for in the tests' registry."""
    return {
        "image": f"{REGISTRY}/kaniko:1",
        "arguments": ["--use-new-run"],
        "mirror": True,
        "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "2Gi"}},
    }


def registry(repository: str) -> dict[str, Any]:
    """Where images of functions go."""
    host, _, port = REGISTRY.partition(":")
    place = {"host": host, "port": int(port), "scheme": "http"}
    return {**place, "userImageRepository": repository}
