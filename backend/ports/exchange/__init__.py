"""Files of other organizations: authenticated, ranged, resumable, checked."""

from backend.ports.exchange.client import Exchange
from backend.ports.exchange.errors import PeerRefused, WrongChecksum

__all__ = ["Exchange", "PeerRefused", "WrongChecksum"]
