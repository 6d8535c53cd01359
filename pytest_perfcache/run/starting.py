"""What happens first, before it is known what this run needs: does it take part, and is it observed?

Imports nothing else of the plugin before the answer is yes.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

import pytest

from pytest_perfcache.run.config import TRACING, environ_of, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from importlib.machinery import ModuleSpec

_OWN = f"{__package__.partition('.')[0]}."


class _OwnFinder:
    """Finds this plugin's modules as Python would without pytest."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, path) if name.startswith(_OWN) else None


@contextmanager
def unrewritten() -> Iterator[None]:
    """Import this plugin's modules past pytest's assertion rewriter, which loads compiled modules three times slower.

    It takes whatever belongs to a plugin for tests. Nothing is left in ``sys.meta_path`` for the tests to see.
    """
    sys.meta_path.insert(0, _OwnFinder)
    try:
        yield
    finally:
        sys.meta_path.remove(_OwnFinder)


def takes_part(config: pytest.Config) -> bool:
    """Whether this run is to be planned, recorded or told of."""
    known = config.known_args_namespace
    idle = known.help or known.version or known.collectonly or getattr(config.option, "collectonly", False)
    return settings_of(config).enabled and not idle


def begin_tracing(config: pytest.Config) -> None:
    """Called before the first conftest file is imported, so that none is missed.

    With ``-n`` too: only later it is known whether workers start, and this process is then no longer observed.
    """
    known = config.known_args_namespace
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    controls = bool(getattr(known, "tx", None)) and not is_worker and settings_of(config).replay is None
    if not takes_part(config) or getattr(known, "perfcache_show", None):
        return
    environ = environ_of(config)
    if controls and not os.path.isdir(settings_of(config).dir):
        _mark_ahead(config)  # for the workers
    if not controls and (is_worker or not _is_foreseen(config, environ)):
        if not is_worker:
            _mark_ahead(config)
        import pytest_perfcache.run.gathering  # what is observed is gathered
        from pytest_perfcache.trace.tracing import Tracing

        config.stash[TRACING] = Tracing.start(config.rootpath, settings_of(config).dir)
    if not is_worker and getattr(known, "numprocesses", None) is not None:
        from pytest_perfcache.run.worker_count import WorkerCountPlugin

        config.pluginmanager.register(WorkerCountPlugin(), "perfcache-worker-count")
    import pytest_perfcache.run.session  # noqa: F401  # every run that takes part needs it, and it is set apart too
    from pytest_perfcache.run.garbage import CollectionPlugin, set_apart

    set_apart()
    config.pluginmanager.register(CollectionPlugin(), "perfcache-garbage")


def _mark_ahead(config: pytest.Config) -> None:
    """Have the project's modules marked beside this process where most are not: on a first run."""
    from pytest_perfcache.trace.codestore import CodeStore

    home, root = settings_of(config).dir, str(config.rootpath)
    if not CodeStore(str(home)).is_new:
        return
    from pytest_perfcache.store.directory import prepare_directory
    from pytest_perfcache.trace.ahead import begin, pays

    with suppress(OSError):  # of a directory that can not be used, the store tells
        if pays(root) and _has_second_core():
            prepare_directory(home)
            begin(str(home), root, pytest.__version__)


def _has_second_core() -> bool:
    from pytest_perfcache.schedule.machine import read_cores

    return read_cores() > 1


def _is_foreseen(config: pytest.Config, environ: Mapping[str, str]) -> bool:
    from pytest_perfcache.run.faults import harmless

    found: list[bool] = []
    with harmless("observes a run in which nothing has to run"):
        from pytest_perfcache.run.quiet import is_foreseen

        found.append(is_foreseen(config, environ))
    return any(found)
