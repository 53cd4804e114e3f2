"""Helpers that tests of others import from this place."""
