"""What the tests upload: a function script with several entry points, and an opener."""
