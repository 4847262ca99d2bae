"""The product's own container image, which pods of these tests run."""

import os

from backend.ports.registry import Registry
from tests.cluster.conftest import REGISTRY

IMAGE = os.environ.get("SUBSTRA_RAY_TEST_IMAGE", f"{REGISTRY}/substra-ray:test")


def product_image() -> str:
    """Its name; asserts that the registry has it."""
    host, _, name = IMAGE.partition("/")
    repository, _, tag = name.rpartition(":")
    registry = Registry(host, scheme="http")
    found = registry.image(repository, tag)
    registry.close()
    assert found, f"{IMAGE} is not there: make images IMAGE={IMAGE} PUSH=1"
    return IMAGE
