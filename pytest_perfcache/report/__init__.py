"""Telling what was decided and what it cost."""
