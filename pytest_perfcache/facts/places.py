"""Which files belong to the project, and how paths are written so that another checkout understands them."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

_TOOL_CACHES: Final = tuple(
    f"{os.sep}{name}{os.sep}" for name in (".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "__pycache__")
)
_FOREIGN_PARTS: Final = frozenset(("site-packages", "dist-packages", "node_modules", ".tox", ".nox", ".git"))


def _library_prefixes() -> tuple[str, ...]:
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {*site.getsitepackages(), site.getusersitepackages()}
    real = {os.path.realpath(path) for path in paths if path}
    return tuple(sorted(path.rstrip(os.sep) + os.sep for path in real | {path for path in paths if path}))


@dataclass(frozen=True, slots=True)
class Places:
    """The project's root and what does not belong to the project though it may lie inside."""

    root: Path
    libraries: tuple[str, ...] = field(default_factory=_library_prefixes)
    scratch: tuple[str, ...] = ()
    """Directories whose contents are made by the run itself: never an input."""

    @classmethod
    def of(cls, root: Path, *scratch: Path) -> Places:
        made = {os.path.realpath(path) for path in scratch}
        return cls(Path(os.path.realpath(root)), scratch=tuple(sorted(path + os.sep for path in made)))

    def relative(self, path: str) -> str:
        """``path`` relative to the root with forward slashes; absolute where it lies outside.

        Links are followed only in the part above the root, so that a link inside the project stays what it is.
        """
        full = os.path.abspath(path)
        prefix = f"{self.root}{os.sep}"
        if not full.startswith(prefix):
            head, tail = os.path.split(full)
            real = _real_library(head) if full.startswith(self.libraries) else os.path.realpath(head)
            full = os.path.join(real, tail)
        if full.startswith(prefix):
            return full[len(prefix) :].replace(os.sep, "/")
        return "." if full == str(self.root) else full

    def is_project(self, path: str) -> bool:
        """Whether code in this file is the project's own, to be traced function by function."""
        name = self.relative(path)
        if os.path.isabs(name):
            return False
        full = f"{self.root}{os.sep}{name}"
        if full.startswith(self.libraries) or not _FOREIGN_PARTS.isdisjoint(name.split("/")):
            return False
        return not self._in_virtual_environment(name)

    def is_library(self, path: str) -> bool:
        """Whether the file belongs to the interpreter or to an installed distribution."""
        return path.startswith((*self.libraries, str(Path(sys.prefix, "lib")) + os.sep))

    def is_scratch(self, path: str) -> bool:
        """Whether the run makes this for itself: its own directories, caches of tools, and what the kernel shows."""
        if any(part in path for part in _TOOL_CACHES):
            return True
        return path.startswith((*self.scratch, "/proc/", "/dev/", "/sys/"))

    def _in_virtual_environment(self, name: str) -> bool:
        parts = name.split("/")[:-1]
        return any(_has_marker(os.path.join(self.root, *parts[: depth + 1])) for depth in range(len(parts)))


@cache
def _real_library(directory: str) -> str:
    return os.path.realpath(directory)


_markers: dict[str, bool] = {}


def _has_marker(directory: str) -> bool:
    found = _markers.get(directory)
    if found is None:
        found = _markers[directory] = os.path.exists(os.path.join(directory, "pyvenv.cfg"))
    return found


def temporary_root() -> str:
    """The directory for temporary files, with a trailing separator."""
    return os.path.realpath(tempfile.gettempdir()) + os.sep
