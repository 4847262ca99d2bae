"""Register this organization on each of its channels, once the ledger answers (orchestrator.md 12.1)."""

import threading

import structlog

from backend.access.organizations.events import store
from backend.node import Node
from backend.ports.ledger.errors import LedgerError

log = structlog.get_logger(__name__)
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0


class Membership:
    """A background thread that ends when every channel knows us (`OE0006`: it did already)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="membership", daemon=True)

    def start(self) -> None:
        if not self._node.settings.ISOLATED:
            self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        waiting, pause_s = list(self._node.settings.CHANNELS), FIRST_PAUSE_S
        while waiting and not self._stopped.is_set():
            waiting = [channel for channel in waiting if not self._registered(channel)]
            if waiting:
                self._stopped.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _registered(self, channel: str) -> bool:
        try:
            ledger = self._node.ledger.on(channel)
            try:
                address = self._node.settings.DEFAULT_DOMAIN
                ledger.register_organization(address, attempts=1)  # so that `stop` is soon heard
            except LedgerError as error:
                if not error.already_exists:
                    raise
            members = ledger.organizations()
            with self._node.database.transaction() as session:
                for member in members:
                    store(session, channel, member)
        except Exception as error:  # the ledger or the database is not there yet
            log.warning("organization_not_registered", channel=channel, error=str(error))
            return False
        log.info("organization_registered", channel=channel, organization=self._node.own)
        return True
