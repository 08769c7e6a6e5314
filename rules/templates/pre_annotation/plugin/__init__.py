"""Proposals for annotators."""
