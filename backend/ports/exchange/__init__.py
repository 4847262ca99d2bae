"""Files of other organizations: authenticated, ranged, resumable, checked."""

from backend.ports.exchange.client import Exchange
from backend.ports.exchange.errors import PeerRefused, TransferStopped, WrongChecksum

__all__ = ["Exchange", "PeerRefused", "TransferStopped", "WrongChecksum"]
