"""Errors that this plugin raises itself. A fault of the cache never leaves the plugin as an error."""

from __future__ import annotations


class PerfcacheError(Exception):
    """Base of every error raised here."""


class SettingsError(PerfcacheError):
    """An option, environment variable or ini value that cannot be used."""


class StoreError(PerfcacheError):
    """The store could not do what was asked: always handled as a miss."""


class CodecError(StoreError):
    """Bytes that are not what this version writes."""
