"""The project's modules and what they import: static import statements joined with what was seen."""

from __future__ import annotations

import os
import sys
from array import array
from collections import defaultdict
from importlib.util import resolve_name
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from pytest_perfcache.facts.digest import fingerprint
from pytest_perfcache.facts.stats import Signature, read_bytes
from pytest_perfcache.trace.codes import import_statements, nested
from pytest_perfcache.trace.looking import attributes, file_of, folders_of
from pytest_perfcache.trace.unit import Touched, Unit, blocks_of, numbers_in, whole

_Leads: TypeAlias = tuple[frozenset[str], frozenset[str]]
"""Project paths, and all top-level names, that imports lead to."""

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import CodeType, ModuleType

    from pytest_perfcache.facts.places import Places
    from pytest_perfcache.model import Fingerprint
    from pytest_perfcache.trace.codes import Codes, ImportSpec

_OWN: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep


class Module:
    """One project module as it was loaded: its content then, and what its import touched.

    ``coarse``: it was loaded out of sight, so nothing finer than its whole content can stand for it.
    """

    __slots__ = ("coarse", "content", "imports", "name", "number", "path", "signature", "unit")

    def __init__(
        self,
        number: int,
        path: str,
        name: str,
        content: Fingerprint,
        signature: Signature | None,
        *,
        coarse: bool = False,
    ) -> None:
        self.number = number
        self.path = path
        self.name = name
        self.content = content
        self.signature = signature
        self.unit = Unit(f"import of {path}")
        self.unit.modules.add(path)
        self.imports: tuple[ImportSpec, ...] = ()
        self.coarse = coarse


class _Reached(NamedTuple):
    """What a set of modules brings along: everything that they import, directly or not."""

    modules: int
    blocks: frozenset[int]
    inputs: frozenset[str]
    untracked: str
    imports: frozenset[str]


class Modules:
    """The import graph of the project in this process. Closures are remembered until a module is added."""

    def __init__(self, places: Places, codes: Codes) -> None:
        self.places = places
        self._codes = codes
        self.by_path: dict[str, Module] = {}
        self.by_number: list[Module] = []
        self._elsewhere: dict[tuple[str, Fingerprint, bool], Module] = {}
        self._foreign = 0
        self.is_own: Callable[[str], bool] = lambda _: False
        """Whether the run itself made a file."""
        self.searched: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        """Top-level names → each ``sys.path`` that they were looked for on."""
        self._paths: dict[str, str | None] = {}
        self._reached: dict[frozenset[str], _Reached] = {}
        self._edges: dict[str, _Leads] = {}
        self._lazy: dict[frozenset[int], _Leads] = {}
        self._lazy_of: dict[int, _Leads] = {}
        self._libraries: dict[int, frozenset[str]] = {}
        self._present: tuple[int, ...] = ()
        self._count = 0
        self._there: list[str] | None = None
        self._project: frozenset[str] | None = None
        self._same: dict[frozenset[str], frozenset[str]] = {}

    def add(self, path: str, name: str, source: bytes | None, signature: Signature | None) -> Module:
        """Enter a module that is about to be executed (again)."""
        module = self._add(path, name, source, signature)
        self.forget_closures()
        return module

    def _add(self, path: str, name: str, source: bytes | None, signature: Signature | None) -> Module:
        module = Module(len(self.by_number), path, name, fingerprint(source or b""), signature)
        known = self.by_path.get(path)
        if known is not None:
            module.coarse = known.content != module.content
            module.unit.parts.append(known.unit)
        self.by_number.append(module)
        self.by_path[path] = module
        return module

    def add_elsewhere(self, path: str, content: Fingerprint, signature: Signature | None, *, coarse: bool) -> Module:
        """A module as a child process loaded it, beside what this process knows; its closure came along with it."""
        key = (path, content, coarse)
        module = self._elsewhere.get(key)
        if module is None:
            module = Module(len(self.by_number), path, "", content, signature, coarse=coarse)
            self._elsewhere[key] = module
            self._foreign |= 1 << module.number
            self.by_number.append(module)
        return module

    def standing(self) -> Iterator[Module]:
        """Every module as it was loaded last, here and in child processes."""
        yield from self.by_path.values()
        yield from self._elsewhere.values()

    def content(self, path: str) -> Fingerprint:
        """What a module's file held when it was loaded."""
        module = self.by_path.get(path)
        return next(m.content for m in self._elsewhere.values() if m.path == path) if module is None else module.content

    def begin(self) -> None:
        """A test begins: what is among the modules now is not of its making."""
        self._there = list(sys.modules)  # hardly ever asked, and a list is made ten times faster than a set

    def was_there(self, name: str) -> bool:
        """Whether there was such a module when the test that runs began; outside of tests, it may have been."""
        return self._there is None or name in self._there

    def end(self) -> None:
        """The test has ended."""
        self._there = None

    def forget_closures(self) -> None:
        self._reached.clear()
        self._edges.clear()
        self._libraries.clear()
        self._forget_lazy()
        self._present = ()
        self._project = None

    def _forget_lazy(self) -> None:
        self._lazy.clear()
        self._lazy_of.clear()

    def path_of(self, name: str) -> str | None:
        """The project path of a loaded module; None where it is not loaded or not the project's."""
        module = sys.modules.get(name)
        return None if module is None else self.path_of_module(module)

    def path_of_module(self, module: ModuleType) -> str | None:
        file = file_of(module)
        return None if file is None else self.path_of_file(file)

    def path_of_file(self, file: str) -> str | None:
        if file not in self._paths:
            self._paths[file] = self._project_path(file)
        return self._paths[file]

    def _project_path(self, file: str) -> str | None:
        """The path from the root; that of the archive for a module that lies in one.

        A file outside the root that no installed distribution answers for counts too, with its absolute path.
        """
        if not self.places.is_project(file):
            return self.places.relative(file) if self._is_loose(file) else None
        path, above = file, os.path.dirname(file)
        while not os.path.exists(path) and path != above:
            path, above = above, os.path.dirname(above)
        return self.places.relative(path if os.path.isfile(path) else file)

    def _is_loose(self, file: str) -> bool:
        if (
            self.places.is_library(file)
            or not file.endswith(".py")
            or not os.path.isfile(file)
            or self.is_own(file)
            or file.startswith(_OWN)
        ):
            return False
        return os.path.isabs(self.places.relative(file)) and not self.places.is_installed(file, sys.path)

    def touched(self, units: Iterable[Unit], paths: Iterable[str]) -> Touched:
        """What a test depends on that consists of these units and starts from these modules."""
        found = whole(units)
        elsewhere = 0
        here: set[int] = set()
        roots = set(paths)
        for unit in found:
            here |= unit.blocks
            roots |= unit.modules
            elsewhere |= unit.elsewhere
        blocks = here.union(*(unit.ran_elsewhere for unit in found))
        roots.update(map(self._codes.paths.__getitem__, here))
        reflective = not blocks.isdisjoint(self._codes.reflective)
        if reflective:
            self._notice_imports()
            roots |= self._loaded()
        if not blocks.isdisjoint(self._codes.importing):
            roots |= self._imported_by(blocks)[0]
        reached = self._reach(frozenset(roots))
        return Touched(
            reached.modules | elsewhere if elsewhere else reached.modules,
            array("I", sorted(blocks - reached.blocks)),
            reached.blocks,
            self._shared(reached.inputs.union(*(unit.inputs for unit in found))),
            next((unit.untracked for unit in found if unit.untracked), reached.untracked),
            self._shared(reached.imports.union(*(unit.imports for unit in found))),
        )

    def _shared(self, values: frozenset[str]) -> frozenset[str]:
        """The same object for the same values: most tests of a module touch the same things."""
        return self._same.setdefault(values, values)

    def imported(self, touched: Touched) -> frozenset[str]:
        """Top-level names of everything that these modules and functions import, there or not."""
        found = self._imported_by(touched.ran)[1] | self._imported_by(touched.at_import)[1] | touched.imports
        here = touched.modules & ~self._foreign
        libraries = self._libraries.get(here)
        if libraries is None:
            modules = map(self.by_number.__getitem__, numbers_in(here))
            libraries = self._libraries[here] = frozenset().union(*(self._edges_of(module)[1] for module in modules))
        return found | libraries

    def _notice_imports(self) -> None:
        """Look at ``sys.modules`` again where it is not what it was: what imports lead to may have changed."""
        present = tuple(map(object.__hash__, sys.modules.copy().values()))
        if present != self._present:
            self._forget_lazy()
            self._present = present
            self._project = None

    def _loaded(self) -> frozenset[str]:
        """Every project module in ``sys.modules``: for code that may reach any of them by a computed name."""
        if self._project is None:
            found = map(self.path_of_module, sys.modules.copy().values())
            self._project = frozenset(path for path in found if path is not None)
        return self._project

    def _reach(self, roots: frozenset[str]) -> _Reached:
        found = self._reached.get(roots)
        if found is None:
            seen: dict[str, Module] = {}
            waiting = list(roots)
            while waiting:
                path = waiting.pop()
                if path not in seen:
                    module = seen[path] = self._module(path)
                    waiting += self._edges_of(module)[0]
            found = self._reached[roots] = _join(seen.values())
        return found

    def _is_missing(self, target: str) -> bool:
        """Whether this is a submodule of a project's package that was not there; an attribute is there."""
        parent, _, name = target.rpartition(".")
        package = sys.modules.get(parent)
        if package is None or target in sys.modules or name in attributes(package):
            return False
        return self._belongs(package)

    def _belongs(self, package: ModuleType) -> bool:
        """Whether a package is the project's, or has a part in it."""
        if file_of(package) is not None:
            return self.path_of_module(package) is not None
        return any(self.places.is_project(f"{path}/__init__.py") for path in folders_of(package))

    def directly(self, path: str) -> frozenset[str]:
        """The module itself and what it imports, as project paths."""
        return self._edges_of(self._module(path))[0] | {path}

    def _module(self, path: str) -> Module:
        """The module, entered as coarse where it was loaded out of sight."""
        module = self.by_path.get(path)
        return module if module is not None else self._add_unseen(path)

    def _add_unseen(self, path: str) -> Module:
        file = self.places.full(path)
        signature = Signature.of(file)
        source = read_bytes(file) if signature else None
        module = self._add(path, _loaded_name(file), source, signature)
        module.coarse = True
        if source is not None and path.endswith(".py"):
            module.imports = tuple(all_imports(source, path))
        return module

    def _edges_of(self, module: Module) -> _Leads:
        found = self._edges.get(module.path)
        if found is None:
            paths, libraries = self._resolve(module.imports, module.path, module.name)
            units = whole([module.unit])
            lazy, more = self._imported_by(blocks_of(units))
            paths = paths.union(lazy, *(self._modules_of(unit) for unit in units))
            found = self._edges[module.path] = (paths - {module.path}, libraries | more)
        return found

    def _modules_of(self, unit: Unit) -> set[str]:
        return unit.modules.union(map(self._codes.paths.__getitem__, unit.blocks))

    def _imported_by(self, blocks: Iterable[int]) -> _Leads:
        """Project paths and top-level names imported inside these functions."""
        if len(sys.modules) != self._count:
            self._count = len(sys.modules)
            self._forget_lazy()
        numbers = frozenset(self._codes.importing.intersection(blocks))
        found = self._lazy.get(numbers)
        if found is None:
            leads = [*map(self._imported_in, numbers)]
            paths: frozenset[str] = frozenset().union(*(paths for paths, _ in leads))
            found = self._lazy[numbers] = paths, frozenset().union(*(libraries for _, libraries in leads))
        return found

    def _imported_in(self, number: int) -> _Leads:
        found = self._lazy_of.get(number)
        if found is None:
            path = self._codes.paths[number]
            name = self._module(path).name
            found = self._lazy_of[number] = self._resolve(self._codes.imports[number], path, name)
        return found

    def _resolve(self, specs: Iterable[ImportSpec], path: str, name: str) -> _Leads:
        """Project paths, and all top-level names, that these import statements lead to."""
        package = name if path.endswith("/__init__.py") else name.rpartition(".")[0]
        paths: set[str] = set()
        libraries: set[str] = set()
        for target in (*_targets(specs, package), *parents(name)):
            found = self.path_of(target)
            if found is not None:
                paths.add(found)
            libraries.add(target if self._is_missing(target) else target.partition(".")[0])
        return frozenset(paths), frozenset(libraries)


def _join(modules: Iterable[Module]) -> _Reached:
    mask = 0
    blocks: set[int] = set()
    inputs: set[str] = set()
    imports: set[str] = set()
    untracked = ""
    for module in modules:
        mask |= 1 << module.number
        units = whole([module.unit])
        blocks |= blocks_of(units)
        for unit in units:
            inputs |= unit.inputs
            imports |= unit.imports
            mask |= unit.elsewhere
            untracked = untracked or unit.untracked
    return _Reached(mask, frozenset(blocks), frozenset(inputs), untracked, frozenset(imports))


def _targets(specs: Iterable[ImportSpec], package: str) -> Iterator[str]:
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


def _loaded_name(file: str) -> str:
    for name, module in sys.modules.copy().items():
        if file_of(module) == file:
            return name
    return os.path.splitext(os.path.basename(file))[0]


def all_imports(source: bytes | str, path: str) -> Iterator[ImportSpec]:
    """Every import statement in a source, wherever it stands; none where it is not valid Python."""
    try:
        waiting: list[CodeType] = [compile(source, path, "exec", dont_inherit=True)]
    except (SyntaxError, ValueError):
        return
    while waiting:
        code = waiting.pop()
        yield from import_statements(code)
        waiting += nested(code)
