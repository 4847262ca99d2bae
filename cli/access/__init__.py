"""Accounts, secrets of organizations, tokens and the schema, managed from the shell."""
