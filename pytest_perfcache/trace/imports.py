"""Sees each project module just before it is executed: marks its functions, and observes its import as a unit.

``SourceFileLoader`` (and what derives from it), pytest's assertion rewriter and ``runpy`` execute the Python files of a
test run. The first is patched in its class; of the others, the module-level name ``exec`` is shadowed, so that the
code object passes by here after it was compiled, rewritten or loaded. All are undone by :meth:`ImportObserver.close`.
"""

from __future__ import annotations

import os
import runpy
import sys
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from typing import TYPE_CHECKING, Any, Final

from pytest_perfcache.facts.places import compiled_files
from pytest_perfcache.facts.stats import RACY_NS, Signature, read_bytes
from pytest_perfcache.trace.codes import bodies, import_statements
from pytest_perfcache.trace.frameless import like_machinery
from pytest_perfcache.trace.patches import Patches
from pytest_perfcache.trace.stateful import may_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, ModuleType

    from pytest_perfcache.trace.lookups import LookupObserver
    from pytest_perfcache.trace.modules import Module, Modules
    from pytest_perfcache.trace.recorder import Recorder

_REWRITER: Final = "AssertionRewritingHook"


def _nothing() -> None:
    """Nobody waits for this module."""


class ImportObserver:
    """Installs itself on construction."""

    def __init__(self, recorder: Recorder, lookups: LookupObserver) -> None:
        self._recorder = recorder
        self._lookups = lookups
        self._modules: Modules = recorder.modules
        self.importing: list[str] = []
        """Files whose source is being loaded now, innermost last: reading them is no input."""
        self._loaded: dict[str, Signature | None] = {}
        self.when_loaded: dict[str, Callable[[], None]] = {}
        """What to do, once, after a module outside the project was imported."""
        self._patches = Patches()
        self._patches.put(SourceFileLoader, "exec_module", self._source_loader(SourceFileLoader.exec_module))
        self._patches.put(runpy, "exec", self._runpy_exec)
        rewriter = next((type(finder) for finder in sys.meta_path if type(finder).__name__ == _REWRITER), None)
        if rewriter is not None:
            self._patches.put(rewriter, "exec_module", self._rewriting_loader(rewriter.exec_module))  # type: ignore[attr-defined]
            self._patches.put(sys.modules[rewriter.__module__], "exec", self._rewriter_exec)

    def close(self) -> None:
        self._patches.close()

    def _see_loose(self, file: str) -> None:
        """A module outside the project is about to be loaded: where no distribution answers for it, its file does."""
        path = self._modules.path_of_file(file)
        if path is not None:
            drop_racy_bytecode(file)
            self._modules.directly(path)

    def _rewriting_loader(self, original: Callable[[Any, ModuleType], None]) -> Callable[[Any, ModuleType], None]:
        observer = self

        @like_machinery
        def exec_module(self: Any, module: ModuleType) -> None:
            __tracebackhide__ = True
            path = observer._project_path(module)
            if path is not None and module.__file__ is not None:
                drop_racy_bytecode(module.__file__)
                observer._loaded[path] = Signature.of(module.__file__)
            original(self, module)

        return exec_module

    def _source_loader(
        self, original: Callable[[SourceFileLoader, ModuleType], None]
    ) -> Callable[[SourceFileLoader, ModuleType], None]:
        observer = self

        @like_machinery
        def exec_module(self: SourceFileLoader, module: ModuleType) -> None:
            __tracebackhide__ = True
            path = observer._project_path(module)
            if path is None:
                observer._see_loose(self.path)
                original(self, module)
                observer.when_loaded.pop(module.__name__, _nothing)()
                return
            drop_racy_bytecode(self.path)
            signature = Signature.of(self.path)
            with observer._loading(self.path):
                code = self.get_code(module.__name__)
            if code is None:
                original(self, module)
                return
            observer._execute(path, code, module.__dict__, signature)

        return exec_module

    @like_machinery
    def _rewriter_exec(self, code: CodeType, namespace: dict[str, Any]) -> None:
        """Stands for ``exec`` in pytest's assertion rewriter."""
        __tracebackhide__ = True
        module = sys.modules.get(str(namespace.get("__name__")))
        path = None if module is None else self._project_path(module)
        if path is None:
            exec(code, namespace)
            return
        self._execute(path, code, namespace, self._loaded.get(path))

    def _runpy_exec(self, code: CodeType, namespace: dict[str, Any]) -> None:
        """Stands for ``exec`` in ``runpy``: ``python -m`` and ``run_path``. Compiles anew: the code may be stale."""
        spec = namespace.get("__spec__")
        origin = namespace.get("__file__") if spec is None else spec.origin
        places = self._modules.places
        if not isinstance(origin, str) or not origin.endswith(".py") or not places.is_project(origin):
            exec(code, namespace)
            return
        signature = Signature.of(origin)
        with self._loading(origin):
            source = read_bytes(origin)
        code = compile(source, code.co_filename, "exec", dont_inherit=True)
        name = namespace["__name__"] if spec is None else spec.name
        self._execute(places.relative(origin), code, namespace, signature, name)

    def _project_path(self, module: ModuleType) -> str | None:
        spec = module.__spec__
        origin = spec.origin if spec is not None else None
        if origin is None or not self._modules.places.is_project(origin):
            return None
        return self._modules.places.relative(origin)

    @like_machinery
    def _execute(
        self, path: str, code: CodeType, namespace: dict[str, Any], signature: Signature | None, name: str = ""
    ) -> None:
        __tracebackhide__ = True
        module = self._entered(path, code, name or str(namespace["__name__"]), signature)
        recorder = self._recorder
        recorder.add_module(path)
        code = recorder.calls.instrument(code, path)
        if not recorder.at_home:
            module.coarse = True
            exec(code, namespace)
            return
        recorder.enter(module.unit)
        try:
            exec(code, namespace)
        finally:
            recorder.end(module.unit)
            recorder.ambient.look(module.unit)
            recorder.kept.named.imported(module.unit, code, self._effects(module, code, namespace))
            self._lookups.made_by(module.unit, code)
            recorder.loaded(path, namespace)
            self._modules.forget(module)

    @staticmethod
    def _effects(module: Module, code: CodeType, namespace: dict[str, Any]) -> frozenset[str]:
        if not any(map(may_store, bodies(code))):
            return frozenset()
        try:
            from pytest_perfcache.trace.effects import effects  # few modules change anything of others

            return effects(code, namespace)
        except Exception as error:
            module.unit.spoil(f"observing its import failed: {error!r}")
            return frozenset()

    def _entered(self, path: str, code: CodeType, name: str, signature: Signature | None) -> Module:
        file = self._modules.places.full(path)
        with self._loading(file):
            source = read_bytes(file) if signature is not None else None
        module = self._modules.add(path, name, source, signature)
        module.coarse = module.coarse or Signature.of(file) != signature
        module.imports = tuple(import_statements(code))
        return module

    @contextmanager
    def _loading(self, file: str) -> Iterator[None]:
        self.importing.append(file)
        try:
            yield
        finally:
            self.importing.pop()


def drop_racy_bytecode(source: str) -> None:
    """Remove compiled files so young that they may stem from an earlier content of their source.

    Python takes a ``.pyc`` as good when size and whole second of the source agree; a source that was written twice
    within one second, or was given its old time again, can be older than its text. Its change time tells.
    """
    try:
        found = os.stat(source)
        modified = max(found.st_mtime_ns, found.st_ctime_ns)
        caches = compiled_files(source, getattr(sys.modules.get("pytest"), "__version__", ""))
    except (OSError, NotImplementedError):
        return
    for cache in caches:
        try:
            if os.stat(cache).st_mtime_ns < modified + RACY_NS:
                os.unlink(cache)
        except OSError:
            continue
