"""Where an imported name comes from: found by listing directories, without importing anything.

A module that appears, disappears or shadows another one changes the answer, and nothing else does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import all_suffixes
from typing import Final

from pytest_perfcache.facts.digest import ABSENT, fingerprint_text
from pytest_perfcache.facts.places import Places
from pytest_perfcache.model import Fingerprint

_ENTRIES: Final = "@"
_SEPARATOR: Final = ";"
_SUFFIXES: Final = tuple(all_suffixes())
_BUILT_IN: Final = frozenset((*sys.stdlib_module_names, *sys.builtin_module_names))


def import_name(module: str, entries: Iterable[str]) -> str:
    """A fact's name: the top-level module, and the project's directories on ``sys.path``, relative to the root."""
    return f"{module}{_ENTRIES}{_SEPARATOR.join(entries)}"


class ImportResolver:
    """Looks into each directory once."""

    def __init__(self, places: Places, search_path: Sequence[str] | None = None) -> None:
        self._places = places
        self._search_path = list(sys.path if search_path is None else search_path)
        self._listings: dict[str, frozenset[str]] = {}

    def project_entries(self) -> list[str]:
        """The directories of the search path that belong to the project, relative to the root."""
        relative = (self._places.relative(entry or os.getcwd()) for entry in self._search_path)
        inside = (name for name in relative if not os.path.isabs(name) and not self._places.is_library(name))
        return list(dict.fromkeys(inside))

    def fingerprint(self, name: str) -> Fingerprint:
        """What provides the module now: a place in the project, the world outside, or nothing (``ABSENT``)."""
        module, _, entries = name.partition(_ENTRIES)
        for entry in entries.split(_SEPARATOR) if entries else ():
            found = self._provider(os.path.join(self._places.root, entry), module)
            if found:
                return fingerprint_text(f"{entry}/{found}")
        if module in _BUILT_IN or any(self._provider(entry, module) for entry in self._search_path):
            return fingerprint_text("outside the project")
        return ABSENT

    def _provider(self, directory: str, module: str) -> str:
        """A package goes before an extension module, and that before a source file, as Python searches."""
        names = self._names(directory)
        if module in names and os.path.isdir(os.path.join(directory, module)):
            return module
        return next((module + suffix for suffix in _SUFFIXES if module + suffix in names), "")

    def _names(self, directory: str) -> frozenset[str]:
        found = self._listings.get(directory)
        if found is None:
            try:
                found = frozenset(os.listdir(directory or "."))
            except OSError:
                found = frozenset()
            self._listings[directory] = found
        return found
