"""The ledger's schema, by Alembic; `orchestrator.database.migrate` runs it at start."""
