"""The cluster's builder out of settings, and archives on their way to it."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backend.engine.images.builder import Archive
from backend.engine.images.in_cluster import build_options, recipe
from backend.ports.storage import FilesystemStorage
from backend.settings import Settings

NEEDED: dict[str, Any] = {
    "BUILDER": "kaniko",
    "REGISTRY": "registry:5000",
    "BUILDER_NAMESPACE": "builds",
    "BUILDER_CONTEXT_IMAGE": "ours:1",
    "OBJECTSTORE_URL": "http://minio:9000",
}


def test_options_follow_the_settings() -> None:
    options = build_options(
        Settings(
            **NEEDED,
            REGISTRY_SCHEME="http",
            USER_IMAGE_REPOSITORY="org-1/user-image",
            KANIKO_IMAGE="fork:1",
            KANIKO_ARGUMENTS=["--use-new-run"],
            KANIKO_MIRROR=True,
            KANIKO_DOCKER_CONFIG_SECRET_NAME="login",
            BUILDER_NODE_SELECTOR={"disk": "fast"},
            IMAGE_BUILD_TIMEOUT=60,
            RUN_ENVIRONMENT={"HTTP_PROXY": "http://proxy"},
        )
    )
    assert options.destination("t") == "registry:5000/org-1/user-image:t"
    assert (options.namespace, options.context_image, options.image) == (
        "builds",
        "ours:1",
        "fork:1",
    )
    assert (options.scheme, options.mirror, options.timeout_s) == ("http", True, 60)
    assert options.extra_arguments == ("--use-new-run",)
    assert options.docker_config_secret == "login"
    assert options.node_selector == {"disk": "fast"}
    assert options.environment == {"HTTP_PROXY": "http://proxy"}


def test_buildkit_is_a_choice_with_an_image_and_flags_of_its_own() -> None:
    profile = {"seccompProfile": {"type": "Localhost", "localhostProfile": "buildkit.json"}}
    changed = {"BUILDER": "buildkit", "BUILDKIT_IMAGE": "ours/buildkit:1"}
    settings = Settings(
        **{**NEEDED, **changed},
        BUILDKIT_ARGUMENTS=["--no-cache"],
        BUILDKIT_SECURITY=profile,
        KANIKO_ARGUMENTS=["--use-new-run"],
    )
    options = build_options(settings)
    assert recipe(settings).container == "buildkit"
    assert recipe(Settings(**NEEDED)).container == "kaniko"
    assert (options.image, options.extra_arguments) == ("ours/buildkit:1", ("--no-cache",))
    assert options.security == profile


@pytest.mark.parametrize("name", [name for name in NEEDED if name != "BUILDER"])
def test_what_is_missing_is_said_at_once(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**{**NEEDED, name: ""})


def test_archive_is_a_path_here_and_needs_a_store_for_the_cluster(tmp_path: Path) -> None:
    storage = FilesystemStorage(tmp_path)
    archive = Archive(storage, "functions/k/archive", "0" * 64)
    for call in (archive.path, lambda: archive.url(60)):
        with pytest.raises(OSError, match="missing in our storage"):
            call()
    storage.put("functions/k/archive", [b"x"])
    assert archive.path().read_bytes() == b"x"
    with pytest.raises(OSError, match="OBJECTSTORE_URL"):
        archive.url(60)
