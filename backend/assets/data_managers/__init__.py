"""Data managers (datasets): an opener and a description, with permissions."""
