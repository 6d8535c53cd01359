"""Puts the recorder and its observers together in a process that runs tests, and takes them down again."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from pytest_perfcache.facts.places import Places
from pytest_perfcache.trace.audit import AuditObserver, harness_asks
from pytest_perfcache.trace.calls import call_tracer
from pytest_perfcache.trace.children import Children
from pytest_perfcache.trace.codes import Codes
from pytest_perfcache.trace.environ import EnvironObserver
from pytest_perfcache.trace.exchange import Exchange
from pytest_perfcache.trace.imports import ImportObserver
from pytest_perfcache.trace.inputs import Inputs
from pytest_perfcache.trace.lookups import LookupObserver
from pytest_perfcache.trace.memoised import watch_functools
from pytest_perfcache.trace.metadata import METADATA, MetadataObserver
from pytest_perfcache.trace.modules import Modules
from pytest_perfcache.trace.recorder import Recorder
from pytest_perfcache.trace.stat import StatObserver

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Tracing(NamedTuple):
    """What observes this process. ``environ``: the environment as it was when observation began."""

    recorder: Recorder
    modules: Modules
    inputs: Inputs
    places: Places
    environ: Mapping[str, str]
    children: Children
    observers: ExitStack

    @classmethod
    def start(cls, root: Path | str, *scratch: Path | str) -> Tracing | None:
        """Begin to observe; None where no means of tracing calls is free.

        What lies in ``scratch`` is no input; the first of these directories is that of the cache.
        """
        places, codes = Places.of(root, *scratch), Codes()
        calls = call_tracer(codes, next(map(str, scratch), None))
        if calls is None:
            return None
        modules = Modules(places, codes)
        recorder = Recorder(codes, calls, modules)
        environ = dict(os.environ)
        inputs = Inputs(places, environ, recorder)
        modules.is_own = inputs.is_made
        observers = ExitStack()
        observers.callback(calls.close)
        observers.callback(watch_functools(recorder.noted))
        lookups = LookupObserver(recorder)
        recorder.kept.look_up = lookups.looked_up
        observers.callback(lookups.close)
        imports = ImportObserver(recorder, lookups)
        observers.callback(imports.close)
        audit = AuditObserver(inputs, places, recorder, imports.importing)
        recorder.guarded = audit.guarded
        observers.callback(audit.close)
        observers.callback(StatObserver(inputs, audit.guarded, audit.busy).close)
        observers.callback(EnvironObserver(inputs).close)
        metadata = MetadataObserver(inputs)
        observers.callback(metadata.close)
        if METADATA not in sys.modules:
            imports.when_loaded[METADATA] = metadata.begin
        exchange = Exchange(recorder, modules, inputs, places)
        children = Children(recorder, exchange, harness_asks)
        children.install()
        observers.callback(children.close)
        audit.before = children.poll
        audit.spawning = lambda: children.spawning
        return cls(recorder, modules, inputs, places, environ, children, observers)

    def stop(self) -> None:
        self.observers.close()
