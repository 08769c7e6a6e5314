"""Owns helpers that are no part of a plugin's run."""
