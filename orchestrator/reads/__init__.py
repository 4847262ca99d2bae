"""Reads: every Get and Query, on connections of their own. Each is a function of (pool, caller, request)."""
