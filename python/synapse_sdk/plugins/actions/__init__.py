"""Owns the base classes of the well-known actions; import them from their own modules."""
