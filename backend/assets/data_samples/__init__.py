"""Data samples: the data itself, which never leaves its organization."""
