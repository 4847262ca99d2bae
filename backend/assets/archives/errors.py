"""Why an archive is refused; the text is what a user reads."""


class ArchiveRefused(Exception):
    """The archive is not accepted. `str()` is the reason in the contract's words (rest-api.md 8.2, 10.2)."""


class NotAnArchive(ArchiveRefused):
    """Neither zip nor tar, or damaged beyond reading."""


TRAVERSAL = (
    "Ensure your archive does not contain traversal filenames (e.g. filename with `..` inside)"
)
LINKS = "Ensure your archive does not contain links or special files."
DUPLICATES = "Ensure your archive does not contain duplicate filenames (ignoring case)."
ENCRYPTED = "Ensure your archive is not encrypted."
NAMES = "Ensure your archive does not contain unusable filenames."
TOO_MANY = "Ensure your archive does not contain too many entries."
TOO_LARGE = "Ensure your archive is not too large when unpacked."
COMPRESSION = "Ensure your archive uses a compression that can be read with little memory."
DAMAGED = "The archive is damaged."
