"""Installed distributions as facts: version, recorded contents, and what was edited in place since.

Compiled bytecode, scripts and installer notes do not count: the same wheel installed twice is the same fact.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from pytest_perfcache.facts.digest import ABSENT, fingerprint, fingerprint_all
from pytest_perfcache.facts.stats import read_bytes, stat
from pytest_perfcache.model import Fingerprint

_VOLATILE: Final = (
    ".pyc",
    *(f".dist-info/{name}" for name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")),
)
_TOP: Final = re.compile(rb"^([^/.,\r\n]+)[/.]", re.MULTILINE)
_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REQUIRES: Final = re.compile(rb"^Requires-Dist:[ \t]*([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE | re.IGNORECASE)
"""In the header of METADATA: a line each. The parser of mails, by which ``importlib.metadata`` reads it, takes 1 ms."""
_AFTER_INSTALL: Final = 2.0
"""Seconds: an installer writes RECORD last; what is younger than that was edited afterwards."""


def canonical(name: str) -> str:
    """The name of a distribution as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Distributions:
    """What is installed on ``search_path`` (default: ``sys.path``), looked at once."""

    def __init__(self, search_path: Iterable[str] | None = None) -> None:
        self._search_path = list(sys.path if search_path is None else search_path)
        self._fingerprints: dict[str, Fingerprint] = {}
        self._by_directory: dict[Path, Fingerprint] = {}
        self._closures: dict[str, frozenset[str]] = {}
        self._owners: dict[str, frozenset[str]] = {}

    @cached_property
    def _directories(self) -> Mapping[str, Path]:
        """Canonical name → its ``.dist-info`` directory; the first on the path wins."""
        found: dict[str, Path] = {}
        for entry in self._search_path:
            try:
                names = os.listdir(entry or ".")
            except OSError:
                continue
            for name in names:
                if name.endswith((".dist-info", ".egg-info")):
                    found.setdefault(canonical(name.rpartition(".")[0].partition("-")[0]), Path(entry, name))
        return found

    @cached_property
    def _provided(self) -> Mapping[str, frozenset[str]]:
        """Canonical name → top-level names, as an installer declared them and as its list of files has them."""
        return {name: _provided_by(directory) for name, directory in self._directories.items()}

    def owners(self, module: str) -> frozenset[str]:
        """Canonical names of the distributions that provide a module's top-level package."""
        top = module.partition(".")[0]
        found = self._owners.get(top)
        if found is None:
            found = self._owners[top] = frozenset(name for name, tops in self._provided.items() if top in tops)
        return found

    def closure(self, name: str) -> frozenset[str]:
        """The distribution with all that it requires and that is installed, extras included."""
        known = self._closures.get(name)
        if known is None:
            found: set[str] = set()
            waiting = [name]
            while waiting:
                current = waiting.pop()
                if current not in found and current in self._directories:
                    found.add(current)
                    waiting += self._requires(current)
            known = self._closures[name] = frozenset(found)
        return known

    def fingerprint(self, name: str) -> Fingerprint:
        found = self._fingerprints.get(name)
        if found is None:
            directory = self._directories.get(name)
            found = ABSENT if directory is None else self._of_directory(directory)
            self._fingerprints[name] = found
        return found

    def _of_directory(self, directory: Path) -> Fingerprint:
        found = self._by_directory.get(directory)
        if found is None:
            found = self._by_directory[directory] = _fingerprint(directory)
        return found

    def elsewhere(self) -> Distributions:
        """The same for ``sys.path`` as it is now; what was installed is not looked at again."""
        found = Distributions()
        found._by_directory = self._by_directory
        return found

    def entry_points(self, group: str) -> Fingerprint:
        """Of all distributions together; without a group, those of all groups and which distributions there are."""
        found = [f"{name} {directory.name}" for name, directory in self._directories.items() if not group]
        for directory in self._directories.values():
            found += _entry_points(directory, group)
        return fingerprint_all(sorted(found))

    def _requires(self, name: str) -> Iterator[str]:
        directory = self._directories[name]
        try:
            header = read_bytes(f"{directory}/METADATA").replace(b"\r\n", b"\n").partition(b"\n\n")[0]
        except OSError:  # an egg, which has this in other files
            yield from _required_by_egg(directory)
            return
        yield from (canonical(found.decode()) for found in _REQUIRES.findall(header))


def _required_by_egg(directory: Path) -> Iterator[str]:
    from importlib import metadata

    for requirement in metadata.PathDistribution(directory).requires or ():
        match = _REQUIREMENT.match(requirement)
        if match:
            yield canonical(match[0])


def _provided_by(directory: Path) -> frozenset[str]:
    declared = _read_or_empty(f"{directory}/top_level.txt").decode("utf-8", "replace").split()
    listed = set(_TOP.findall(_read_or_empty(f"{directory}/RECORD")))
    return frozenset((*declared, *(name.decode("utf-8", "replace") for name in listed)))


def _read_or_empty(path: str) -> bytes:
    try:
        return read_bytes(path)
    except OSError:
        return b""


def _entry_points(directory: Path, group: str) -> Iterator[str]:
    try:
        lines = (directory / "entry_points.txt").read_text("utf-8").splitlines()
    except OSError:
        return
    section = ""
    for line in map(str.strip, lines):
        if line.startswith("["):
            section = line.strip("[] ")
        elif line and group in ("", section):
            yield f"{section}: {line}"


def _fingerprint(directory: Path) -> Fingerprint:
    record = directory / "RECORD"
    try:
        lines = record.read_text("utf-8").splitlines()
        installed = stat(record).st_mtime
    except OSError:
        return fingerprint_all((directory.name, *_tree(directory)))
    parts = [directory.name]
    base = f"{directory.parent}{os.sep}"
    for line in sorted(lines):
        path, _, size = _fields(line)
        if path.startswith("../") or path.endswith(_VOLATILE):
            continue
        parts.append(line)
        edited = _edited(base + path, size, installed)
        if edited is not None:
            parts.append(edited)
    return fingerprint_all(parts)


def _fields(line: str) -> tuple[str, str, str]:
    """Path, hash and size in a line of RECORD (PEP 376); a quoted path keeps its quotes."""
    head, _, size = line.rpartition(",")
    path, _, digest = head.rpartition(",")
    return path, digest, size


def _edited(path: str, size: str, installed: float) -> str | None:
    """The content's fingerprint when a file is not as it was installed, else None."""
    try:
        found = stat(path)
    except OSError:
        return "missing"
    if found.st_mtime <= installed + _AFTER_INSTALL and (not size.isdigit() or int(size) == found.st_size):
        return None
    try:
        return fingerprint(read_bytes(path)).hex()
    except OSError:
        return "unreadable"


def _tree(path: Path) -> list[str]:
    """Without a RECORD only the metadata tells versions apart."""
    files = [path] if path.is_file() else sorted(child for child in path.iterdir() if child.is_file())
    return [fingerprint(file.read_bytes()).hex() for file in files]
