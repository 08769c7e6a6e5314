"""Owns nothing itself: its modules hold the small models that logging and running share."""

from __future__ import annotations
