"""Registering what is already stored here (rule 3): what to do when the ledger does not answer clearly."""

from collections.abc import Callable
from typing import TypeVar

import structlog

from backend.ports.ledger.errors import LedgerError

log = structlog.get_logger(__name__)
R = TypeVar("R")


def registered(register: Callable[[], R], stored: Callable[[], R], forget: Callable[[], None]) -> R:
    """The asset as the ledger has it. Its key is of our own making, so what stands there is ours.

    After a lost answer the ledger is asked by key (`stored`). The files are removed (`forget`) only after a
    definite refusal; otherwise they stay, for the registration may still arrive. The Janitor removes those
    that the ledger does not know after an hour.

    Raises:
        LedgerError: refused, or the outcome is unknown.
    """
    try:
        return register()
    except LedgerError as error:
        if not error.maybe_ours:
            forget()
            raise
        try:
            return stored()
        except LedgerError as second:
            log.warning("registration_outcome_unknown", error=str(error), lookup=str(second))
            raise error from None
    except BaseException:
        forget()
        raise
