"""A dataset's files as a list."""
