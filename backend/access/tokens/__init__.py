"""Tokens by which programs act for a user."""
