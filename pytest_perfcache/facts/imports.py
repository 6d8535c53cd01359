"""Where an imported name comes from: found by listing directories, without importing anything.

A module that appears, disappears or shadows another one changes the answer, and nothing else does.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import all_suffixes
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from pytest_perfcache.facts.digest import ABSENT, fingerprint_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_perfcache.facts.places import Places
    from pytest_perfcache.model import Fingerprint

_ENTRIES: Final = "@"
_OUTSIDE: Final = "outside the project"
_SEPARATOR: Final = ";"
_SPREAD: Final = "/*"
"""Marks a directory that is only one part of a namespace package."""
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
        self._fingerprints: dict[str, Fingerprint] = {}
        self._entries: dict[tuple[str, ...], list[str]] = {}

    def project_entries(self, search_path: Iterable[str] | None = None) -> list[str]:
        """The directories of a search path (by default, of this one) that are the project's, relative to the root."""
        path = tuple(self._search_path if search_path is None else search_path)
        found = self._entries.get(path)
        if found is None:
            relative = (self._places.relative(entry or os.getcwd()) for entry in path)
            inside = (name for name in relative if not os.path.isabs(name) and not self._places.is_library(name))
            found = self._entries[path] = list(dict.fromkeys(inside))
        return found

    def fingerprint(self, name: str) -> Fingerprint:
        """What provides the module now: places in the project, the world outside, or nothing (``ABSENT``)."""
        found = self._fingerprints.get(name)
        if found is None:
            found = self._fingerprints[name] = self._find(name)
        return found

    def _find(self, name: str) -> Fingerprint:
        module, _, entries = name.partition(_ENTRIES)
        found = self._providers(module.split("."), entries.split(_SEPARATOR) if entries else [])
        if found:
            return fingerprint_all(found)
        top = module.partition(".")[0]
        if top in _BUILT_IN:
            return fingerprint_all([_OUTSIDE])
        place = next((entry for entry in self._search_path if self._provider(entry, top)), None)
        return ABSENT if place is None else fingerprint_all([_OUTSIDE, *self._named(place, top)])

    def _named(self, place: str, top: str) -> list[str]:
        """The directory outside the project that has a module, where no installed distribution answers for it."""
        found = os.path.join(place, f"{top}.py")
        outside = os.path.isabs(self._places.relative(found))
        return [place] if outside and not self._places.is_installed(found, self._search_path) else []

    def _providers(self, parts: list[str], entries: list[str]) -> list[str]:
        """The first place that has the module; of a package without ``__init__``, every place up to that."""
        spread: list[str] = []
        for entry in entries:
            directory = self._places.full(entry)
            found = self._provider(directory, parts[0])
            if found.endswith(_SPREAD):
                spread += [f"{entry}/{found}", *self._inside(directory, parts)]
            elif found:
                return [f"{entry}/{found}", *self._inside(directory, parts)]
        return spread

    def _inside(self, directory: str, parts: list[str]) -> list[str]:
        """What provides each further part of a dotted name."""
        found = []
        for parent, name in pairwise(parts):
            directory = os.path.join(directory, parent)
            found.append(self._provider(directory, name))
        return found

    def _provider(self, directory: str, module: str) -> str:
        """A package goes before an extension module, that before a source file, and that before a bare directory."""
        names = self._names(directory)
        if module in names and os.path.join(os.path.abspath(directory), module, "") in self._places.libraries:
            return ""
        package = module in names and os.path.isdir(os.path.join(directory, module))
        if package and any(f"__init__{suffix}" in self._names(os.path.join(directory, module)) for suffix in _SUFFIXES):
            return module
        source = next((module + suffix for suffix in _SUFFIXES if module + suffix in names), "")
        return source or (module + _SPREAD if package else "")

    def _names(self, directory: str) -> frozenset[str]:
        found = self._listings.get(directory)
        if found is None:
            try:
                found = frozenset(os.listdir(directory or "."))
            except OSError:
                found = frozenset()
            self._listings[directory] = found
        return found
