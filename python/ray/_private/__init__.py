"""Helpers that tests and libraries of others import from this place."""
