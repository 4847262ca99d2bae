"""Where our store keeps images that were built in a registry; see `engine.images.published`."""


def manifest_file(digest: str) -> str:
    """Of an image, by its manifest's bare digest. It is there when the whole image is."""
    return f"images/manifests/{digest}"


def layer_file(digest: str) -> str:
    """Of a configuration or layer, by `sha256:<hex>`."""
    return f"images/layers/{digest.removeprefix('sha256:')}"
