"""The cluster's builder, as an organization's settings describe it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from backend.assets.functions.images import manifest_file
from backend.engine.images.build_job import BuildOptions, BuildSource, Recipe
from backend.engine.images.builder import Archive
from backend.engine.images.buildkit import BuildKit
from backend.engine.images.cluster_builder import BuildAgain, BuiltInRegistry, ClusterBuilder
from backend.engine.images.kaniko import Kaniko
from backend.engine.images.published import publish
from backend.ports.registry import Registry, RegistryRefused
from backend.ports.registry.client import Login
from backend.ports.storage import Storage
from backend.settings import Settings
from kuberay.transport import Connection

LONGEST_S = 6 * 3600
"""How long an archive's URL is good for where builds have no time limit."""


def recipe(settings: Settings) -> Recipe:
    """What builds in the Jobs."""
    return BuildKit() if settings.BUILDER == "buildkit" else Kaniko()


def build_options(settings: Settings) -> BuildOptions:
    """What a build's Job is made of."""
    buildkit = settings.BUILDER == "buildkit"
    return BuildOptions(
        namespace=settings.BUILDER_NAMESPACE,
        registry=settings.REGISTRY,
        repository=settings.USER_IMAGE_REPOSITORY,
        context_image=settings.BUILDER_CONTEXT_IMAGE,
        image=settings.BUILDKIT_IMAGE if buildkit else settings.KANIKO_IMAGE,
        extra_arguments=tuple(
            settings.BUILDKIT_ARGUMENTS if buildkit else settings.KANIKO_ARGUMENTS
        ),
        scheme=settings.REGISTRY_SCHEME,
        mirror=settings.KANIKO_MIRROR,
        timeout_s=settings.IMAGE_BUILD_TIMEOUT,
        context_bytes=10 * settings.DATA_UPLOAD_MAX_SIZE,
        resources=settings.KANIKO_RESOURCES,
        docker_config_secret=settings.KANIKO_DOCKER_CONFIG_SECRET_NAME,
        pull_secret=settings.BUILDER_PULL_SECRET_NAME,
        authority_secret=settings.BUILDER_CA_SECRET_NAME,
        node_selector=settings.BUILDER_NODE_SELECTOR,
        tolerations=tuple(settings.BUILDER_TOLERATIONS),
        environment=settings.RUN_ENVIRONMENT,
        security=settings.BUILDKIT_SECURITY,
    )


def open_registry(settings: Settings) -> Registry:
    """The registry of function images, as the control plane reaches it.

    Raises:
        OSError, ValueError: the file with the log-in cannot be read.
    """
    login = None
    if settings.REGISTRY_DOCKER_CONFIG is not None:
        login = Login.from_docker_config(settings.REGISTRY_DOCKER_CONFIG, settings.REGISTRY)
    return Registry(
        settings.REGISTRY,
        scheme=settings.REGISTRY_SCHEME,
        login=login,
        authority=settings.REGISTRY_CA_PATH,
    )


class InCluster:
    """Jobs that build, and the registry that holds what they built."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        connect: Callable[[], Connection] | None = None,
    ) -> None:
        """`connect`: by default with the pod's service account. Raises KubeError, OSError, ValueError."""
        self._settings = settings
        self._storage = storage
        self._registry = open_registry(settings)
        self._builder = ClusterBuilder(
            (connect or partial(Connection.in_cluster))(),
            self._registry,
            recipe(settings),
            build_options(settings),
            start_s=settings.BUILDER_KANIKO_STARTUP_MAX_ATTEMPTS
            * settings.BUILDER_KANIKO_STARTUP_PENDING_STATE_WAIT_SECONDS,
        )

    def build(
        self, archive: Archive, log_path: Path, stopped: Callable[[], bool]
    ) -> BuiltInRegistry:
        source = BuildSource(
            archive.url(self._settings.IMAGE_BUILD_TIMEOUT or LONGEST_S), archive.checksum
        )
        built = self._builder.build(source, log_path, stopped)
        repository = self._settings.USER_IMAGE_REPOSITORY
        try:
            publish(self._registry, repository, built.manifest_digest, archive.storage)
        except RegistryRefused as error:
            raise BuildAgain(f"the image cannot be read again: {error}") from error
        return built

    def known(self, digest: str) -> bool:
        """Also in the store, for other organizations: `build` puts there what is not."""
        repository = self._settings.USER_IMAGE_REPOSITORY
        if self._registry.image(repository, f"sha256:{digest}") is None:
            return False
        return self._storage.exists(manifest_file(digest))
