"""Owns nothing itself: one module per language, each with its table MESSAGES."""

from __future__ import annotations
