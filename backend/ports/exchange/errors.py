"""What can go wrong with another organization's file, told apart by what to do about it (rule 44)."""

from backend.kit.errors import ApiError

FINAL = {403, 404, 410}


class PeerRefused(ApiError):
    """The owner answered 401, 403, 404 or 410; passed through to a user as it is.

    `final`: asking again cannot help. A 401 is a matter of configuration, so it is not final.
    """

    def __init__(self, status: int, detail: object) -> None:
        super().__init__(detail)
        self._status = status

    @property
    def status_code(self) -> int:
        return self._status

    @property
    def final(self) -> bool:
        return self._status in FINAL


class TransferStopped(Exception):
    """Nobody wants the file any more; what came stays for the next one who does."""


class WrongChecksum(ApiError):
    """The bytes are not those that the ledger names. Final."""

    status = 500
    default = "The file received has another checksum than the ledger names"
    final = True
