"""Where import statements lead, among the modules that are loaded."""

from __future__ import annotations

import sys
from importlib.util import resolve_name
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from pytest_perfcache.trace.looking import attributes, file_of, folders_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import ModuleType

    from pytest_perfcache.trace.codes import ImportSpec

Leads: TypeAlias = tuple[frozenset[str], frozenset[str]]
"""Project paths, and all top-level names, that imports lead to."""
_identity: Final = object.__hash__  # `id` is an audit event


class _Targets(NamedTuple):
    """What import statements name: modules, or members of these.

    ``members``: package, last part and whole name of those with a dot.
    """

    names: frozenset[str]
    tops: frozenset[str]
    members: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, specs: Iterable[ImportSpec], package: str, name: str) -> _Targets:
        names = frozenset((*_named(specs, package), *parents(name)))
        members = ((*target.rpartition(".")[::2], target) for target in names if "." in target)
        return cls(names, frozenset(target.partition(".")[0] for target in names), tuple(members))


class Resolver:
    """Knows the project's modules in ``sys.modules`` as they were when it last looked."""

    def __init__(self, path_of_file: Callable[[str], str | None], is_project: Callable[[str], bool]) -> None:
        """``path_of_file`` gives the project path of a file, None where it is not the project's."""
        self._path_of_file = path_of_file
        self._is_project = is_project
        self._names: list[str] = []
        self._identities: list[int] = []
        self._paths: dict[str, str] = {}
        self._packages: set[str] = set()
        """Names of modules that are the project's, or have a part in it."""
        self._targets: dict[tuple[tuple[ImportSpec, ...], str, str], _Targets] = {}

    @property
    def loaded(self) -> frozenset[str]:
        """The paths of all modules of the project that were there."""
        return frozenset(self._paths.values())

    @property
    def is_behind(self) -> bool:
        """Whether modules came or went since it looked, as far as their number tells."""
        return len(sys.modules) != len(self._names)

    def look(self) -> bool:
        """Look at what is loaded now; whether imports may lead elsewhere than before."""
        modules = sys.modules.copy()
        names, identities = list(modules), list(map(_identity, modules.values()))
        if identities == self._identities and names == self._names:
            return False
        same = min(_alike(names, self._names), _alike(identities, self._identities))
        before = dict(zip(self._names[same:], self._identities[same:], strict=True))
        now = dict(zip(names[same:], identities[same:], strict=True))
        self._names, self._identities = names, identities
        moved = {name: self._forget(name) for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
        for name in now.keys() & moved.keys():
            self._enter(name, modules[name])
        come_or_gone = before.keys() ^ now.keys()
        return any(was != self._known(name) for name, was in moved.items()) or any(
            name.rpartition(".")[0] in self._packages for name in come_or_gone
        )

    def _known(self, name: str) -> tuple[str | None, bool]:
        """What decides where imports of this name lead."""
        return self._paths.get(name), name in self._packages

    def _forget(self, name: str) -> tuple[str | None, bool]:
        known = self._known(name)
        self._paths.pop(name, None)
        self._packages.discard(name)
        return known

    def _enter(self, name: str, module: ModuleType) -> None:
        file = file_of(module)
        if file is not None:
            path = self._path_of_file(file)
            if path is not None:
                self._paths[name] = path
                self._packages.add(name)
        elif any(self._is_project(f"{folder}/__init__.py") for folder in folders_of(module)):
            self._packages.add(name)

    def resolve(self, specs: tuple[ImportSpec, ...], path: str, name: str) -> Leads:
        """Where the imports of the module ``name`` lead, whose file is at ``path``."""
        key = (specs, path, name)
        targets = self._targets.get(key)
        if targets is None:
            package = name if path.endswith("/__init__.py") else name.rpartition(".")[0]
            targets = self._targets[key] = _Targets.of(specs, package, name)
        found = map(self._paths.__getitem__, targets.names & self._paths.keys())
        return frozenset(found), targets.tops.union(self._missing(targets))

    def _missing(self, targets: _Targets) -> Iterator[str]:
        """Submodules of the project's packages that are not there; what is an attribute is there."""
        for parent, member, target in targets.members:
            if parent in self._packages and target not in sys.modules:
                package: ModuleType | None = sys.modules.get(parent)
                if package is not None and member not in attributes(package):
                    yield target


def _alike(one: Sequence[object], other: Sequence[object]) -> int:
    """How many elements are the same from the start on: modules come at the end, and a test takes away its own."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _named(specs: Iterable[ImportSpec], package: str) -> Iterator[str]:
    for spec in specs:
        try:
            base = resolve_name("." * spec.level + spec.module, package) if spec.level else spec.module
        except ImportError:
            continue
        if base:
            yield base
            yield from parents(base)
        yield from (f"{base}.{name}" for name in spec.names)


def parents(name: str) -> Iterator[str]:
    """The packages that a dotted name lies in, the outermost first."""
    at = name.find(".")
    while at >= 0:
        yield name[:at]
        at = name.find(".", at + 1)
