"""What an operator does with a whole ledger: back it up, restore it, check its rows against its events."""
