"""Annotations against rules."""
