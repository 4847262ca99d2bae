"""Decisions of the ledger: pure functions of (what is known, who asks, what is asked, when)."""
