"""The project's modules and what they import: static import statements joined with what was seen."""

from __future__ import annotations

import os
import sys
from array import array
from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_perfcache.facts.digest import fingerprint
from pytest_perfcache.facts.stats import Signature, read_bytes
from pytest_perfcache.trace.codes import import_statements, nested
from pytest_perfcache.trace.leads import Leads, Resolver
from pytest_perfcache.trace.looking import file_of
from pytest_perfcache.trace.unit import Touched, Unit, blocks_of, mask_of, numbers_in, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import CodeType, ModuleType

    from pytest_perfcache.facts.places import Places
    from pytest_perfcache.model import Fingerprint
    from pytest_perfcache.trace.codes import Codes, ImportSpec

_OWN: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep


class Module:
    """One project module as it was loaded: its content then, and what its import touched.

    ``coarse``: it was loaded out of sight, so nothing finer than its whole content can stand for it; ``again``: it was
    executed before, with the same content and under the same name.
    """

    __slots__ = ("again", "coarse", "content", "imports", "name", "number", "path", "signature", "unit")

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
        self.again = False


class _Reached(NamedTuple):
    """What a set of modules brings along: everything that they import, directly or not."""

    modules: int
    mask: int
    """Of the functions in ``blocks``."""
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
        self._resolver = Resolver(self.path_of_file, places.is_project)
        self._reached: dict[int, _Reached] = {}
        """By bit mask of files: those that one starts from, and all that are reached."""
        self._closures: dict[int, int] = {}
        self._edges: dict[str, Leads] = {}
        self._lazy: dict[int, Leads] = {}
        """By bit mask of functions."""
        self._lazy_of: dict[int, Leads] = {}
        self._libraries: dict[tuple[int, frozenset[int]], frozenset[str]] = {}
        self._looked = False
        self._there: list[str] | None = None
        self._same: dict[frozenset[str], frozenset[str]] = {}

    def add(self, path: str, name: str, source: bytes | None, signature: Signature | None) -> Module:
        """Enter a module that is about to be executed (again)."""
        module = self._add(path, name, source, signature)
        self.forget(module)
        return module

    def _add(self, path: str, name: str, source: bytes | None, signature: Signature | None) -> Module:
        module = Module(len(self.by_number), path, name, fingerprint(source or b""), signature)
        known = self.by_path.get(path)
        if known is not None:
            module.coarse = known.content != module.content
            module.again = not module.coarse and known.name == name
            module.unit.stand_on(known.unit)
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

    def forget(self, module: Module) -> None:
        """Its execution begins or ends; where others lead is the same where it has been executed before."""
        if not module.again:
            self._forget_all()
            return
        self._reached.clear()
        self._closures.clear()
        self._edges.pop(module.path, None)
        self._lazy.clear()  # so that it is looked at again what is loaded

    def _forget_all(self) -> None:
        self._reached.clear()
        self._closures.clear()
        self._edges.clear()
        self._lazy.clear()
        self._lazy_of.clear()
        self._libraries.clear()

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

    def touched(self, own: Unit, around: Iterable[Unit], paths: Iterable[str]) -> Touched:
        """What a test depends on that consists of these units and starts from these modules."""
        self._looked = False
        found = whole([own, *around])
        blocks = elsewhere = 0
        roots = self._files(paths)
        for unit in found:
            summary = unit.summed_up(self._codes)
            blocks |= summary.blocks
            roots |= summary.files
            elsewhere |= unit.elsewhere
        if blocks & self._codes.reflective:
            self._look()
            roots |= self._files(self._resolver.loaded)
        if blocks & self._codes.importing:
            roots |= self._files(self._imported_by(blocks)[0])
        reached = self._reach(roots)
        # But for what ran while modules were imported, too. The set is at hand, and faster than its bit mask.
        ran = (own.blocks | own.ran_elsewhere).difference(reached.blocks)
        of_others = numbers_in(blocks & ~(reached.mask | own.summed_up(self._codes).blocks))
        return Touched(
            reached.modules | elsewhere,
            array("I", chain(ran, of_others)),
            reached.blocks,
            self._shared(reached.inputs.union(*(unit.inputs for unit in found))),
            next((unit.untracked for unit in found if unit.untracked), reached.untracked),
            self._shared(reached.imports.union(*(unit.imports for unit in found))),
        )

    def _files(self, paths: Iterable[str]) -> int:
        return mask_of(map(self._codes.file, paths))

    def _shared(self, values: frozenset[str]) -> frozenset[str]:
        """The same object for the same values: most tests of a module touch the same things."""
        return self._same.setdefault(values, values)

    def imported(self, touched: Touched) -> frozenset[str]:
        """Top-level names of everything that these modules and functions import, there or not."""
        self._looked = False
        libraries = self._libraries.get(touched.shared)
        if libraries is None:
            modules = map(self.by_number.__getitem__, numbers_in(touched.modules & ~self._foreign))
            at_import = self._imported_by(mask_of(touched.at_import))[1]
            libraries = at_import.union(*(self._edges_of(module)[1] for module in modules))
            self._libraries[touched.shared] = libraries
        own = self._codes.imports.keys() & touched.ran
        return libraries | touched.imports | (self._imported_by(mask_of(own))[1] if own else frozenset())

    def _look(self) -> None:
        """See what is loaded, once for each question: where it is not what it was, imports may lead elsewhere."""
        if not self._looked and self._resolver.look():
            self._forget_all()
        self._looked = True

    def _reach(self, roots: int) -> _Reached:
        found = self._reached.get(roots)
        if found is None:
            self._look()  # before, not between: what is remembered may be forgotten
            files = roots
            for number in numbers_in(roots):
                files |= self._closure(number)
            found = self._reached.get(files)
            if found is None:
                modules = (self._module(self._codes.paths[number]) for number in numbers_in(files))
                found = self._reached[files] = _join(modules, self._codes)
            self._reached[roots] = found
        return found

    def _closure(self, file: int) -> int:
        """Bit mask of the files that are reached from this one."""
        found = self._closures.get(file)
        if found is None:
            found = 1 << file
            waiting = [file]
            while waiting:
                path = self._codes.paths[waiting.pop()]
                for target in map(self._codes.file, self._edges_of(self._module(path))[0]):
                    known = self._closures.get(target)
                    if known is not None:
                        found |= known
                    elif not found >> target & 1:
                        found |= 1 << target
                        waiting.append(target)
            self._closures[file] = found
        return found

    def directly(self, path: str) -> frozenset[str]:
        """The module itself and what it imports, as project paths."""
        self._looked = False
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

    def _edges_of(self, module: Module) -> Leads:
        found = self._edges.get(module.path)
        if found is None:
            self._look()
            paths, libraries = self._resolver.resolve(module.imports, module.path, module.name)
            units = whole([module.unit])
            lazy, more = self._imported_by(blocks_of(units, self._codes))
            paths = paths.union(lazy, *(self._modules_of(unit) for unit in units))
            found = self._edges[module.path] = (paths - {module.path}, libraries | more)
        return found

    def _modules_of(self, unit: Unit) -> Iterable[str]:
        return map(self._codes.paths.__getitem__, numbers_in(unit.summed_up(self._codes).files))

    def _imported_by(self, blocks: int) -> Leads:
        """Project paths and top-level names imported inside these functions."""
        mask = self._codes.importing & blocks
        if mask not in self._lazy or self._resolver.is_behind:
            self._look()
        found = self._lazy.get(mask)
        if found is None:
            leads = [*map(self._imported_in, numbers_in(mask))]
            paths: frozenset[str] = frozenset().union(*(paths for paths, _ in leads))
            found = self._lazy[mask] = paths, frozenset().union(*(libraries for _, libraries in leads))
        return found

    def _imported_in(self, number: int) -> Leads:
        found = self._lazy_of.get(number)
        if found is None:
            path = self._codes.names[number][0]
            name = self._module(path).name
            found = self._lazy_of[number] = self._resolver.resolve(self._codes.imports[number], path, name)
        return found


def _join(modules: Iterable[Module], codes: Codes) -> _Reached:
    mask = blocks = 0
    inputs: set[str] = set()
    imports: set[str] = set()
    untracked = ""
    units: list[Unit] = []
    for module in modules:
        mask |= 1 << module.number
        units.append(module.unit)
    for unit in whole(units):
        blocks |= unit.summed_up(codes).blocks
        inputs |= unit.inputs
        imports |= unit.imports
        mask |= unit.elsewhere
        untracked = untracked or unit.untracked
    return _Reached(mask, blocks, frozenset(numbers_in(blocks)), frozenset(inputs), untracked, frozenset(imports))


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
