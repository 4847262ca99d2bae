"""What a builder says of an archive that cannot become an image."""


class BuildFailed(Exception):
    """The user's Dockerfile failed, or the time ran out: category BUILD, with the whole log as bytes."""

    def __init__(self, reason: str, log: bytes) -> None:
        super().__init__(reason)
        self.log = log
