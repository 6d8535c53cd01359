"""Which files belong to the project, and how paths are written so that another checkout understands them."""

from __future__ import annotations

import importlib.util
import os
import site
import sys
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_TOOL_CACHES: Final = tuple(
    f"{os.sep}{name}{os.sep}" for name in (".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "__pycache__")
)
FOREIGN_PARTS: Final = frozenset(("site-packages", "dist-packages", "node_modules", ".tox", ".nox", ".git"))


@cache
def _library_prefixes() -> tuple[str, ...]:
    """Where the standard library and installed distributions lie; without ``sysconfig``, which takes 5 ms to ask."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    paths = {os.path.join(prefix, below, version) for prefix in prefixes for below in ("lib", sys.platlibdir)}
    paths |= {os.path.dirname(os.__file__), *site.getsitepackages(), site.getusersitepackages()}
    return tuple(sorted(path.rstrip(os.sep) + os.sep for path in paths | {os.path.realpath(path) for path in paths}))


def _sent_along(root: str) -> tuple[str, ...]:
    """Pytest itself, where xdist copied it into the directory of a worker on another host."""
    places = {name: os.path.join(root, name, "") for name in ("_pytest", "pytest")}
    loaded = ((place, getattr(sys.modules.get(name), "__file__", None)) for name, place in places.items())
    return tuple(place for place, file in loaded if file and os.path.realpath(file).startswith(place))


class Places:
    """The project's root and what does not belong to the project though it may lie inside.

    ``base`` is the root as text; ``libraries`` and ``scratch`` are directories with a trailing separator. What lies
    in ``scratch`` is made by the run itself: never an input.
    """

    __slots__ = ("_installed", "base", "libraries", "scratch")

    def __init__(self, base: str, scratch: tuple[str, ...] = ()) -> None:
        self.base = base
        self.libraries = (*_library_prefixes(), *_sent_along(base))
        self._installed = (*self.libraries, os.path.join(sys.prefix, "lib", ""))
        self.scratch = scratch

    @classmethod
    def of(cls, root: Path | str, *scratch: Path | str) -> Places:
        made = {os.path.realpath(path) for path in scratch}
        return cls(os.path.realpath(root), tuple(sorted(path + os.sep for path in made)))

    @property
    def root(self) -> Path:
        """The project's root."""
        from pathlib import Path

        return Path(self.base)

    def full(self, name: str) -> str:
        """The absolute path of a name from the root."""
        return os.path.join(self.base, name)

    def relative(self, path: str) -> str:
        """``path`` relative to the root with forward slashes; absolute where it lies outside.

        Links are followed only in the part above the root, so that a link inside the project stays what it is.
        """
        full = os.path.abspath(path)
        prefix = f"{self.base}{os.sep}"
        if not full.startswith(prefix):
            head, tail = os.path.split(full)
            real = _real_library(head) if full.startswith(self.libraries) else os.path.realpath(head)
            full = os.path.join(real, tail)
        if full.startswith(prefix):
            return full[len(prefix) :].replace(os.sep, "/")
        return "." if full == self.base else full

    def is_project(self, path: str) -> bool:
        """Whether code in this file is the project's own, to be traced function by function."""
        if path.startswith(self.libraries) and not _leads_into(os.path.dirname(path), self.base):
            return False
        name = self.relative(path)
        if os.path.isabs(name):
            return False
        full = f"{self.base}{os.sep}{name}"
        if full.startswith(self.libraries) or not FOREIGN_PARTS.isdisjoint(name.split("/")):
            return False
        return not self._in_virtual_environment(name)

    def is_library(self, path: str) -> bool:
        """Whether the file belongs to the interpreter or to an installed distribution."""
        return path.startswith(self._installed)

    def is_installed(self, file: str, search_path: Iterable[str]) -> bool:
        """Whether a file belongs to a library, or lies beside the metadata of distributions."""
        if self.is_library(file) or self.is_scratch(file):
            return True
        entries = [entry for entry in search_path if entry and file.startswith(entry.rstrip(os.sep) + os.sep)]
        return bool(entries) and _has_metadata(max(entries, key=len))

    def is_scratch(self, path: str) -> bool:
        """Whether the run makes this for itself: its own directories, caches of tools, and what the kernel shows."""
        if any(part in path for part in _TOOL_CACHES):
            return True
        return path.startswith((*self.scratch, "/proc/", "/dev/", "/sys/"))

    def _in_virtual_environment(self, name: str) -> bool:
        parts = name.split("/")[:-1]
        return any(_has_marker(os.path.join(self.base, *parts[: depth + 1])) for depth in range(len(parts)))


@cache
def _real_library(directory: str) -> str:
    return os.path.realpath(directory)


@cache
def _leads_into(directory: str, root: str) -> bool:
    """Whether a directory of a library is a link into the project."""
    return f"{os.path.realpath(directory)}{os.sep}".startswith(f"{root}{os.sep}")


@cache
def _has_metadata(directory: str) -> bool:
    return any(name.endswith((".dist-info", ".egg-info")) for name in os.listdir(directory))


_markers: dict[str, bool] = {}


def _has_marker(directory: str) -> bool:
    found = _markers.get(directory)
    if found is None:
        found = _markers[directory] = is_virtual_environment(directory)
    return found


def is_virtual_environment(directory: str) -> bool:
    return os.path.exists(os.path.join(directory, "pyvenv.cfg"))


def is_test_file(path: str) -> bool:
    """Whether pytest imports this file by itself, going by the usual names."""
    stem, dot, suffix = os.path.basename(path).rpartition(".")
    return dot + suffix == ".py" and (stem == "conftest" or stem.startswith("test_") or stem.endswith("_test"))


def compiled_files(source: str, pytest_version: str) -> tuple[str, str]:
    """Where Python keeps the compiled form of a source, and where pytest keeps that with rewritten assertions.

    ``NotImplementedError`` where this Python keeps none.
    """
    plain = importlib.util.cache_from_source(source)
    stem = os.path.splitext(os.path.basename(source))[0]
    tag = f"{sys.implementation.cache_tag}-pytest-{pytest_version}"
    return plain, os.path.join(os.path.dirname(plain), f"{stem}.{tag}.pyc")
