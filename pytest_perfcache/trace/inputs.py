"""What was read from outside the code: each input is fingerprinted as it was when it was first used.

At the end everything is looked at again; what moved meanwhile says nothing about the result, so the records that
depend on it are not stored.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from pytest_perfcache.facts.digest import ABSENT, fingerprint
from pytest_perfcache.facts.stats import Signature, StatCache, read_bytes
from pytest_perfcache.facts.surroundings import (
    MACHINE,
    environment_fingerprint,
    glob_fingerprint,
    listing_fingerprint,
    machine_fingerprint,
    stat_fingerprint,
    whole_environment,
)
from pytest_perfcache.model import Kind
from pytest_perfcache.trace.handover import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_perfcache.facts.distributions import Distributions
    from pytest_perfcache.facts.places import Places
    from pytest_perfcache.model import Fingerprint
    from pytest_perfcache.trace.recorder import Recorder
    from pytest_perfcache.trace.unit import Unit

_PLACES: Final = (Kind.FILE, Kind.DIRECTORY, Kind.STAT)
_UNSEEN: Final = Seen(None)


_SMALL: Final = 262_144
"""Bytes of a file that is read at its first use, and not only at the end."""


class Inputs:
    """The inputs of this process, by fact key."""

    def __init__(self, places: Places, environ: Mapping[str, str], recorder: Recorder) -> None:
        self._places = places
        self._foreign = tuple(places.libraries)
        self._environ = dict(environ)
        self._recorder = recorder
        self._signatures: dict[str, Signature | None] = {}
        self._fingerprints: dict[str, Fingerprint] = {}
        self._written: dict[str, Unit] = {}
        self._made: set[str] = set()
        self._setters: dict[str, Unit] = {}
        self._moved: set[str] = set()
        self._names: dict[str, str] = {}
        """Absolute paths → paths from the root, until a link is made or removed."""
        self._looked: dict[str, str] = {}
        """Absolute paths that were looked at → the keys of their inputs, until the run writes there, or moves more."""
        self._distributions: Distributions | None = None

    def is_foreign(self, path: object) -> bool:
        """Whether this path, as it is written, lies in a library: then it is no input, whoever asks."""
        return type(path) is str and path.startswith(self._foreign) and ".." not in path

    def is_known(self, path: object) -> bool:
        """Whether who is at work now depends already on what this path, as it is written, is."""
        key = self._looked.get(path) if type(path) is str else None
        return key is not None and self._recorder.has_input(key)

    def read_file(self, path: str) -> None:
        """A file was opened for reading, or looked for and not found."""
        full = os.path.abspath(path)
        if self._own(full):
            return
        self._depend(Kind.FILE, full, self._first_look)

    def read_directory(self, path: str) -> None:
        """A directory was listed."""
        full = os.path.abspath(path)
        if not self._own(full):
            self._depend(Kind.DIRECTORY, full, lambda _, name: listing_fingerprint(self._places, name))

    def looked_at(self, path: str) -> None:
        """What ``os.stat`` tells of a path was asked for."""
        known = self._looked.get(path)
        if known is not None:
            self._recorder.add_input(known)
            return
        full = os.path.abspath(path)
        if self._own(full):
            return
        if full.endswith(".py") and self._places.is_project(full):
            # linecache does this before it gives lines that it read for an earlier test.
            self._looked[full] = self._depend(Kind.FILE, full, self._first_look)
        else:
            self._looked[full] = self._depend(Kind.STAT, full, self._stat)

    def depend_on_file(self, unit: Unit, name: str) -> None:
        """``unit`` depends on a file, relative to the root, whether it is there or not."""
        key = f"{Kind.FILE}:{name}"
        if key not in self._fingerprints and key not in self._signatures:
            self._first_look(key, name)
        unit.inputs.add(key)

    def depend_on_absence(self, unit: Unit, name: str) -> None:
        """``unit`` would change if this file, relative to the root, appeared."""
        if f"{Kind.FILE}:{name}" in self._signatures or not os.path.exists(self._places.full(name)):
            self.depend_on_file(unit, name)

    def wrote(self, path: str) -> None:
        """A file was opened for writing, created or moved to: what it holds from now on is no input."""
        full = os.path.abspath(path)
        self._looked.pop(full, None)
        self._written.setdefault(full, self._recorder.current)

    def linked(self, path: str) -> None:
        """A path was moved there, or a link was created."""
        self.wrote(path)
        self.removed_link()

    def removed_link(self) -> None:
        """A link was taken away: names behind it may mean something else from now on, as with a new one."""
        self._names.clear()
        self._looked.clear()

    def made_directory(self, path: str) -> None:
        """A directory was created: nothing in it is an input."""
        self._looked.clear()
        self._made.add(os.path.abspath(path))

    def set_variable(self, name: str, value: str | None) -> None:
        """The run itself sets a variable, or takes it away."""
        if value == self._environ.get(name):
            self._setters.pop(name, None)
        else:
            self._setters[name] = self._recorder.current

    def is_read(self, name: object) -> bool:
        """Whether who is at work now depends already on this variable, and on nobody else for it."""
        if type(name) is not str or name in self._setters:
            return False
        return self._recorder.has_input(f"{Kind.ENVIRONMENT}:{name}")

    def read_variable(self, name: str, value: str | None) -> None:
        """An environment variable was read. One that the run itself set is no input; who set it counts."""
        setter = self._setters.get(name)
        if setter is not None:
            self._recorder.stand_on(setter)
        if value != self._environ.get(name):
            return
        key = f"{Kind.ENVIRONMENT}:{name}"
        self._fingerprints.setdefault(key, environment_fingerprint(value))
        self._recorder.add_input(key)

    def read_environment(self) -> None:
        """The names of all environment variables were asked for."""
        for setter in self._setters.values():
            self._recorder.stand_on(setter)
        key = f"{Kind.ENVIRONMENT_NAMES}:"
        self._fingerprints.setdefault(key, whole_environment(self._environ))
        self._recorder.add_input(key)

    def read_distribution(self, name: str) -> None:
        """What is installed under this name was asked for."""
        from pytest_perfcache.facts.distributions import canonical

        name = canonical(name)
        self._depend_on_installed(f"{Kind.DISTRIBUTION}:{name}", lambda: self._installed.fingerprint(name))

    def read_entry_points(self, group: str) -> None:
        """The entry points of a group were asked for; without a group, those of all and whatever is installed."""
        self._depend_on_installed(f"{Kind.ENTRY_POINTS}:{group}", lambda: self._installed.entry_points(group))

    @property
    def _installed(self) -> Distributions:
        if self._distributions is None:
            from pytest_perfcache.facts.distributions import Distributions

            self._distributions = Distributions()
        return self._distributions

    def _depend_on_installed(self, key: str, look: Callable[[], Fingerprint]) -> None:
        if key not in self._fingerprints:
            self._fingerprints[key] = look()
        self._recorder.add_input(key)

    def seen(self, key: str) -> Seen:
        """An input as it was at first use."""
        return Seen(self._fingerprints.get(key), key in self._signatures, self._signatures.get(key))

    def written(self) -> tuple[list[str], list[str]]:
        """Absolute paths: files that were written, and directories that were made."""
        return list(self._written), list(self._made)

    def adopt_writes(self, written: Iterable[str], made: Iterable[str], unit: Unit) -> None:
        """A child of ``unit`` wrote these files and made these directories."""
        self._names.clear()
        self._looked.clear()
        for path in written:
            self._written.setdefault(path, unit)
        self._made.update(made)

    def adopt(self, key: str, seen: Seen) -> bool:
        """A child used an input: whether it is one to this process, too. What the run itself made or set is none."""
        kind, _, name = key.partition(":")
        if kind == Kind.ENVIRONMENT:
            if seen.fingerprint != environment_fingerprint(self._environ.get(name)):
                return False
        elif kind == Kind.ENVIRONMENT_NAMES:
            seen = Seen(whole_environment(self._environ))
        elif kind in _PLACES and self._own(self._places.full(name)):
            return False
        known = self.seen(key)
        if known == _UNSEEN:
            if seen.fingerprint is not None:
                self._fingerprints[key] = seen.fingerprint
            if seen.looked:
                self._signatures[key] = seen.signature
        elif known.looked != seen.looked or known[0 if not seen.looked else 2] != seen[0 if not seen.looked else 2]:
            self._moved.add(key)
        return True

    def depend_on_variable(self, unit: Unit, name: str, value: str | None) -> None:
        """The user says that ``unit`` depends on a variable."""
        key = f"{Kind.ENVIRONMENT}:{name}"
        self._fingerprints.setdefault(key, environment_fingerprint(value))
        unit.inputs.add(key)

    def depend_on_machine(self, unit: Unit) -> None:
        """``unit`` ended in a way that another machine may not repeat."""
        self._fingerprints.setdefault(MACHINE, machine_fingerprint())
        unit.inputs.add(MACHINE)

    def depend_on_glob(self, unit: Unit, pattern: str) -> None:
        """The user says that ``unit`` depends on all files that match a pattern from the root."""
        key = f"{Kind.GLOB}:{pattern}"
        if key not in self._fingerprints:
            self._fingerprints[key] = self._glob(pattern)
        unit.inputs.add(key)

    def _glob(self, pattern: str) -> Fingerprint:
        return glob_fingerprint(self._places, pattern, StatCache(self._places.base).content)

    def settle(self) -> dict[str, Fingerprint]:
        """All inputs with their fingerprints at first use; those that moved since are left out."""
        settled: dict[str, Fingerprint] = {}
        for key, found in self._fingerprints.items():
            if self._holds(key, found):
                settled[key] = found
        for key, signature in self._signatures.items():
            now = self._content_now(key, signature, self._fingerprints.get(key))
            if now is None:
                settled.pop(key, None)
            else:
                settled[key] = now
        return {key: found for key, found in settled.items() if key not in self._moved}

    def _content_now(self, key: str, before: Signature | None, first: Fingerprint | None) -> Fingerprint | None:
        """A file's content, None where it is not what it was at first; touching a file changes nothing."""
        path = self._places.full(key.partition(":")[2])
        signature = Signature.of(path)
        if signature is None or before is None:
            return ABSENT if signature is before else None
        if signature == before and first is not None:
            return first
        content = fingerprint(read_bytes(path))
        return content if signature == before or content == first else None

    def _holds(self, key: str, found: Fingerprint) -> bool:
        kind, _, name = key.partition(":")
        match kind:
            case Kind.DIRECTORY:
                return listing_fingerprint(self._places, name) == found
            case Kind.GLOB:
                return self._glob(name) == found
            case Kind.STAT:
                return stat_fingerprint(self._places, name) == found
            case _:
                return True

    def is_made(self, full: str) -> bool:
        """Whether the run itself wrote this file, or made a directory around it."""
        return full in self._written or any(parent in self._made for parent in _parents(full))

    def _own(self, full: str) -> bool:
        """Whether the run made this itself, or it is no input by its nature."""
        if self._places.is_library(full) or self._places.is_scratch(full):
            return True
        writer = self._written.get(full)
        if writer is not None:
            if writer.is_test and writer not in self._recorder.stack:
                self._recorder.spoil(f"reads {self._places.relative(full)}, which {writer.name} wrote")
            return True
        return bool(self._made) and self.is_made(full)

    def _depend(self, kind: Kind, full: str, look: Callable[[str, str], Fingerprint | None]) -> str:
        name = self._names.get(full)
        if name is None:
            name = self._names[full] = self._places.relative(full)
        key = f"{kind}:{name}"
        if key not in self._fingerprints and key not in self._signatures:
            found = look(key, name)
            if found is not None:
                self._fingerprints[key] = found
        self._recorder.add_input(key)
        return key

    def _stat(self, _key: str, name: str) -> Fingerprint:
        return stat_fingerprint(self._places, name)

    def _first_look(self, key: str, name: str) -> Fingerprint | None:
        """The content now; of a large file only the signature, where that can tell a later write."""
        path = self._places.full(name)
        signature = self._signatures[key] = Signature.of(path)
        if signature is None or (signature.size > _SMALL and not signature.racy(time.time_ns())):
            return None
        try:
            return fingerprint(read_bytes(path))
        except OSError:
            return None


def _parents(path: str) -> list[str]:
    parts = path.split(os.sep)
    return [os.sep.join(parts[:depth]) for depth in range(2, len(parts) + 1)]
