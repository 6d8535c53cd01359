"""Cached modules and items."""
