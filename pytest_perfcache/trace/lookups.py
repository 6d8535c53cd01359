"""Sees every import being asked for: by a statement, by name, or by C code such as ``pickle``'s, loaded already or not.

What a module's import touched counts for whoever asks for the module, also for those who find it in ``sys.modules``.
For the project's files :mod:`~pytest_perfcache.trace.imports` knows that; here are all other modules: those that an
import hook makes, that put another object in their place, or that somebody put among the modules by hand.

``builtins.__import__``, the function behind ``importlib.import_module``, and ``importlib.util.find_spec`` are replaced;
:meth:`close` puts them back.
No frame of ours is in the traceback of an import that fails, and no warning names one.
"""

from __future__ import annotations

import builtins
import importlib.util
import sys
import weakref
from functools import cache
from importlib import _bootstrap
from importlib.util import resolve_name
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from pytest_perfcache.trace.frameless import frameless, like_machinery
from pytest_perfcache.trace.leads import parents
from pytest_perfcache.trace.looking import attributes, file_of, is_a
from pytest_perfcache.trace.patches import Patches
from pytest_perfcache.trace.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import CodeType

    from pytest_perfcache.trace.modules import Modules
    from pytest_perfcache.trace.recorder import Recorder

_STANDARD: Final = frozenset((*sys.stdlib_module_names, *sys.builtin_module_names))


class LookupObserver:
    """Installs itself on construction."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._modules: Modules = recorder.modules
        self._before = frozenset(sys.modules)
        self._outside: set[str] = set(_STANDARD)
        """Top-level names that lead out of the project."""
        self._made: dict[str, Unit] = {}
        """What made a module that has no file in the project."""
        self._executed: dict[str, tuple[Callable[[], object], str]] = {}
        """Modules of the project by name, with their paths."""
        self._patches = Patches()
        self._patches.put(builtins, "__import__", frameless(self._statement(builtins.__import__)))
        bootstrap: Any = _bootstrap
        self._patches.put(bootstrap, "_gcd_import", frameless(self._by_name(bootstrap._gcd_import)))
        self._patches.put(importlib.util, "find_spec", frameless(self._find_spec(importlib.util.find_spec)))

    def close(self) -> None:
        self._patches.close()

    def made_by(self, unit: Unit, code: CodeType) -> None:
        """A module's code was executed: what it put among the modules by hand, its import made."""
        if "modules" not in code.co_names and not self._recorder.codes.mentions.get("modules"):
            return
        for name in sys.modules.keys() - self._before - self._made.keys():
            if _is_made(sys.modules[name]) and name.partition(".")[0] not in self._outside:
                self._made[name] = unit

    def _statement(self, original: Callable[..., ModuleType]) -> Callable[..., ModuleType]:
        outside, asked = self._outside, self._asked

        @like_machinery
        def __import__(  # noqa: A001, N807 - stands in its place
            name: str,
            globals: Mapping[str, object] | None = None,  # noqa: A002
            locals: Mapping[str, object] | None = None,  # noqa: A002
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> ModuleType:
            __tracebackhide__ = True
            if level == 0 and type(name) is str and name.partition(".")[0] in outside:
                return original(name, globals, locals, fromlist, level)
            full = _absolute(name, globals, level)
            if not full or full.partition(".")[0] in outside:
                return original(name, globals, locals, fromlist, level)
            unit = asked(full)
            try:
                return original(name, globals, locals, fromlist, level)
            finally:
                self._answered(full, unit, fromlist or (), statement=globals is not None)

        return __import__

    def _by_name(self, original: Callable[..., ModuleType]) -> Callable[..., ModuleType]:
        @like_machinery
        def _gcd_import(name: str, package: str | None = None, level: int = 0) -> ModuleType:
            __tracebackhide__ = True
            full = name if level == 0 else _absolute(name, {"__package__": package}, level)
            if not full or type(full) is not str:
                return original(name, package, level)
            top = full.partition(".")[0]
            if top in self._outside:
                if top not in _STANDARD:
                    self._recorder.add_import(top)
                return original(name, package, level)
            unit = self._asked(full)
            try:
                return original(name, package, level)
            finally:
                self._answered(full, unit, (), statement=False)

        return _gcd_import

    def _find_spec(self, original: Callable[..., object]) -> Callable[..., object]:
        @like_machinery
        def find_spec(name: str, package: str | None = None) -> object:
            __tracebackhide__ = True
            try:
                return original(name, package)
            finally:
                relative = type(name) is str and name.startswith(".")
                self.looked_up(_absolute(name[1:], {"__package__": package}, 1) if relative else name)

        return find_spec

    def looked_up(self, name: object) -> None:
        """A module is asked for by its name, without an import."""
        if type(name) is str and name and name.partition(".")[0] not in self._outside:
            self._answered(name, None, (), statement=False)

    def _asked(self, full: str) -> Unit | None:
        """An import begins: a unit of its own where the module is not loaded yet."""
        if full in sys.modules or not self._recorder.at_home:
            return None
        self._modules.searched[full.partition(".")[0]].add(tuple(sys.path))
        unit = Unit(f"import of {full}")
        for working in self._recorder.at_work():
            working.stand_on(unit)
        self._recorder.enter(unit)
        return unit

    def _answered(self, full: str, unit: Unit | None, fromlist: Sequence[str], *, statement: bool) -> None:
        bound = unit is not None and self._ended(full, unit)
        top = full.partition(".")[0]
        if not statement or full not in sys.modules:
            self._recorder.add_import(top)
        known = True
        names = _names_in(full, tuple(name for name in fromlist if isinstance(name, str)))
        for name in names:
            module = sys.modules.get(name)
            if module is not None:
                known = self._found(name, module, unit) and known
        if not known and self._leads_out(top):
            self._outside.add(top)
        if unit is not None and not bound and all(self._made.get(name) is not unit for name in names):
            self._recorder.take_in(unit)

    def _ended(self, full: str, unit: Unit) -> bool:
        """An import ended; whether others may come to stand on it: what it made can be found as an attribute."""
        self._recorder.leave(unit)
        current = self._recorder.current.name
        if "." not in full or full not in sys.modules or current.startswith("import of ") or unit.is_empty:
            return False
        self._recorder.kept.named.bound(full, unit)
        return True

    def _found(self, name: str, module: object, unit: Unit | None) -> bool:
        """Note what answers; whether it is a file of the project that was seen being executed."""
        executed = self._executed.get(name)
        if executed is not None and executed[0]() is module:
            self._recorder.add_module(executed[1])
            return True
        path = self._modules.path_of_module(module) if is_a(module, ModuleType) else None
        known = path is not None and path in self._modules.by_path
        if path is not None and known:
            self._executed[name] = weakref.ref(module), path
            self._recorder.add_module(path)
        elif name in self._made:
            self._recorder.stand_on(self._made[name])
        elif name not in self._before and _is_made(module):
            if unit is None and self._modules.was_there(name):
                self._recorder.spoil(f"uses {name}, which is in sys.modules and was not imported")
            elif unit is not None:
                self._made[name] = unit
        elif path is not None:
            self._recorder.add_module(path)
        return known

    def _leads_out(self, top: str) -> bool:
        """Whether nothing of the project is behind this name, now and later."""
        module = sys.modules.get(top)
        if not is_a(module, ModuleType):
            return False
        file = file_of(module)
        if isinstance(file, str):
            return self._modules.places.is_library(file)
        return top in self._before and "__path__" not in attributes(module)


@cache
def _names_in(full: str, members: tuple[str, ...]) -> tuple[str, ...]:
    """What is imported with a module: the packages around it, itself, and members that may be modules."""
    return (*parents(full), full, *(f"{full}.{name}" for name in members))


def _absolute(name: object, namespace: Mapping[str, object] | None, level: int) -> str:
    """The full name of what is asked for; empty where it can not be told."""
    if not isinstance(name, str):
        return ""
    if level == 0:
        return name
    package = _package_of(namespace or {})
    try:
        return resolve_name("." * level + name, package) if package else ""
    except ImportError:
        return ""


def _package_of(namespace: Mapping[str, object]) -> str:
    package = namespace.get("__package__")
    if isinstance(package, str):
        return package
    name = namespace.get("__name__")
    if not isinstance(name, str):
        return ""
    return name if "__path__" in namespace else name.rpartition(".")[0]


def _is_made(module: object) -> bool:
    """Whether a module comes neither from a file nor from the interpreter, and is no mere directory."""
    if not is_a(module, ModuleType):
        return True
    if file_of(module) is not None:
        return False
    found = attributes(module)
    origin = attributes(found.get("__spec__")).get("origin")
    return not ("__path__" in found or origin in ("built-in", "frozen"))
