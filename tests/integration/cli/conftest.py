"""The commands work on the same organization as the backend's tests."""

from tests.integration.backend.conftest import settings

__all__ = ["settings"]
