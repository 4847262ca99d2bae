"""Accounts of people: their password, their channel and their role in it."""
