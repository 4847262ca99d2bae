"""One file a migration; `python -m backend.migrations.draft` writes the next."""
