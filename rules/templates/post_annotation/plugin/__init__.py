"""Annotations, cleaned up."""
