"""Plugins of runtime environments, under the names that programs import."""
