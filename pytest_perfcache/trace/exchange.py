"""Between a child process and its parent: what the one touched becomes what the other's unit depends on."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final

from pytest_perfcache.facts.imports import ImportResolver, import_name
from pytest_perfcache.facts.stats import Signature, read_bytes
from pytest_perfcache.model import Kind
from pytest_perfcache.trace.ending import watch_the_end
from pytest_perfcache.trace.handover import Handover, Loaded, Seen, Setup
from pytest_perfcache.trace.looking import file_of
from pytest_perfcache.trace.modules import all_imports
from pytest_perfcache.trace.unit import blocks_of, mask_of, numbers_in, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_perfcache.facts.places import Places
    from pytest_perfcache.trace.inputs import Inputs
    from pytest_perfcache.trace.modules import Modules
    from pytest_perfcache.trace.recorder import Recorder
    from pytest_perfcache.trace.unit import Touched, Unit

_STDLIB: Final = sys.stdlib_module_names | frozenset(sys.builtin_module_names)


class Exchange:
    """``begun``: when this process began, in nanoseconds since the epoch."""

    def __init__(self, recorder: Recorder, modules: Modules, inputs: Inputs, places: Places) -> None:
        self._recorder = recorder
        self._modules = modules
        self.inputs = inputs
        self._places = places
        self._whole = False
        self.begin()

    def begin(self, *, whole_process: bool = False) -> None:
        """A child's life begins. ``whole_process``: nothing of it was loaded before."""
        self._begun = time.time_ns()
        self._known = frozenset(sys.modules)
        self._whole = whole_process

    def setup(self) -> Setup:
        """What a child needs to know to observe itself."""
        return Setup(self._places.base, self._places.scratch)

    def hand_over(self) -> Handover:
        """What this process touched, with all that its units stand on."""
        recorder = self._recorder
        recorder.flush()
        units = list(recorder.stack)
        unseen = list(self._look_at_unseen()) if self._whole else []
        recorder.kept.settle(units[-1], blocks_of(whole(units), recorder.codes))
        touched = self._modules.touched(units[-1], units[:-1], ())
        written, made = self.inputs.written()
        imports = self._imports(unseen) | self._modules.imported(touched)
        return Handover(
            environment=sys.prefix,
            untracked=touched.untracked,
            late=self._late(touched),
            modules=tuple(self._loaded(touched)),
            blocks=tuple(recorder.codes.names[number] for number in sorted(touched.blocks)),
            inputs={key: self.inputs.seen(key) for key in touched.inputs},
            imports=tuple(sorted(imports)),
            entries=tuple(ImportResolver(self._places).project_entries()),
            written=tuple(written),
            made=tuple(made),
        )

    def watch_the_end(self, account: str) -> None:
        """Say beside the account whether anything runs from now on."""
        calls = self._recorder.calls
        calls.scopes = None  # what they need will be gone before the last function runs
        entered = calls.entered
        if entered is not None:
            watch_the_end(entered, account)

    def adopt(self, handover: Handover, units: Iterable[Unit]) -> None:
        """Let ``units`` depend on what a child touched."""
        units = tuple(units)
        self.inputs.adopt_writes(handover.written, handover.made, units[0])
        blocks = [self._recorder.codes.enter(path, qualname) for path, qualname in handover.blocks]
        modules = mask_of(self._add(module, units) for module in handover.modules)
        inputs = {key for key, seen in handover.inputs.items() if self.inputs.adopt(key, seen)}
        inputs |= self._adopt_places(handover)
        for unit in units:
            unit.ran_elsewhere.update(blocks)
            unit.elsewhere |= modules
            unit.inputs |= inputs
            unit.imports.update(handover.imports)

    def _add(self, loaded: Loaded, units: Iterable[Unit]) -> int:
        known = self._modules.by_path.get(loaded.path)
        if known is not None and known.content != loaded.content:
            for unit in units:
                unit.spoil(f"{loaded.path} changed while the tests ran")
        path, content, signature, coarse = loaded
        return self._modules.add_elsewhere(path, content, signature, coarse=coarse).number

    def _adopt_places(self, handover: Handover) -> set[str]:
        """Where the child's imports came from: it may have searched other directories than this process."""
        resolver = ImportResolver(self._places)
        keys = set()
        for name in handover.imports:
            full = import_name(name, handover.entries)
            key = f"{Kind.IMPORT}:{full}"
            if self.inputs.adopt(key, Seen(resolver.fingerprint(full))):
                keys.add(key)
        return keys

    def _loaded(self, touched: Touched) -> Iterator[Loaded]:
        for number in numbers_in(touched.modules):
            module = self._modules.by_number[number]
            yield Loaded(module.path, module.content, module.signature, module.coarse)

    def _look_at_unseen(self) -> Iterator[str]:
        """Files of modules that were loaded out of sight, such as the main script: each is an input as a whole."""
        for name, module in sys.modules.copy().items():
            file = file_of(module)
            if (name in self._known and name != "__main__") or file is None:
                continue
            path = self._places.relative(file)
            if self._places.is_library(file) or _is_installed_script(file) or path in self._modules.by_path:
                continue
            known = self.inputs.seen(f"{Kind.FILE}:{path}").looked
            self.inputs.read_file(file)
            signature = Signature.of(file)
            if not known and (signature is None or signature.racy(self._begun)):
                self._recorder.spoil(f"{path} may have changed while it was loaded")
            yield file

    def _imports(self, unseen: Iterable[str]) -> set[str]:
        """Top-level names that came to this process, and those that code out of sight asks for."""
        names = {name.partition(".")[0] for name in sys.modules.keys() - self._known}
        sources: list[bytes | str] = [read_bytes(path) for path in unseen if os.path.isfile(path)]
        if self._whole and "-c" in sys.orig_argv[:-1]:
            sources.append(sys.orig_argv[sys.orig_argv.index("-c") + 1])
        for source in sources:
            names |= {spec.module.partition(".")[0] for spec in all_imports(source, "<child>") if not spec.level}
        return {name for name in names if name and name not in _STDLIB and name != "__mp_main__"}

    def _late(self, touched: Touched) -> str:
        """Why something may still run after this account; empty where nothing does."""
        if not self._whole:
            return ""
        paths = {self._modules.by_number[number].path for number in numbers_in(touched.modules)}
        finalizers = (name for path, name in self._recorder.codes.names if path in paths and name.endswith(".__del__"))
        return next((f"may run {name} after all else" for name in finalizers), "")


def _is_installed_script(file: str) -> bool:
    return os.path.dirname(file) == os.path.dirname(sys.executable)
