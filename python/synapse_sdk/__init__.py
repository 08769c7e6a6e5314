"""Owns the version of the package, and nothing else: importing it costs nothing."""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
