"""How long a single sign-on holds (rest-api.md 3.4)."""

from backend.access.account import Account
from backend.kit.clock import utc_now
from backend.kit.errors import PermissionDenied
from backend.node import Node


class AccessLapsed(PermissionDenied):
    default = (
        "You are an OIDC user but haven't authenticated in too long a time, "
        "connect to the frontend to refresh your access."
    )


def confirmed(node: Node, account: Account) -> Account:
    """The account, if it may still work.

    Raises:
        AccessLapsed: its last sign-on is too long ago (403).
    """
    if account.valid_until is not None and account.valid_until < utc_now():
        raise AccessLapsed
    return account
