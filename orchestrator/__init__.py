"""The ledger: who registered what, who may use it, and which task may run next. A product of its own."""
