"""A plan's tasks and how their outputs feed each other (rest-api.md 15.3)."""
