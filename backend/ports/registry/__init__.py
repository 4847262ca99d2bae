"""Registries of container images: what a tag or digest means, by the OCI distribution protocol."""

from backend.ports.registry.client import (
    ImageFound,
    Registry,
    RegistryRefused,
    RegistryUnavailable,
)

__all__ = ["ImageFound", "Registry", "RegistryRefused", "RegistryUnavailable"]
