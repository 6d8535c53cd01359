"""Runs in which nothing has to run are not observed, which spares a sixth of their time.

What has to run is sure only once conftest files are loaded, and their imports would have to be observed. So a run in
which nothing ran is remembered under what was asked of it. The next one that is asked the same looks, before the first
conftest file is loaded, whether everything is as it was; if so it is not observed. The verdicts are made as always,
later. Should a test have to run after all, it leaves no record, and the next run is observed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Container, Iterator, Mapping
from typing import Any, Final, NamedTuple

import pytest

from pytest_perfcache.decide.verify import FRESH_SHARE
from pytest_perfcache.facts.digest import fingerprint, fingerprint_text
from pytest_perfcache.facts.places import Places
from pytest_perfcache.facts.stats import Signature
from pytest_perfcache.model import Fingerprint
from pytest_perfcache.run.config import settings_of
from pytest_perfcache.run.faults import harmless
from pytest_perfcache.run.memory import Memory
from pytest_perfcache.run.outlook import open_memory, store_of, test_files
from pytest_perfcache.run.results import ResultsPlugin
from pytest_perfcache.run.settling import Chosen, chosen_by, read_table, untrue_facts
from pytest_perfcache.store.protocol import Store

_QUIET: Final = "quiet"
_KEPT: Final = 8
"""Requests that are remembered."""
_VARIABLES: Final = ("PERFCACHE_", "PYTEST_", "PYTHON")


class _Quiet(NamedTuple):
    """What a run in which nothing ran stood on, beside the facts of its tests."""

    run: Mapping[str, Fingerprint]
    chosen: Chosen
    others: Fingerprint
    """Of the test files of which no state is known."""

    def plain(self) -> list[Any]:
        run = {key: value.hex() for key, value in self.run.items()}
        tests, selection, named = self.chosen
        return [run, tests.hex(), selection.hex(), sorted(named), self.others.hex()]

    @classmethod
    def restored(cls, plain: Any) -> _Quiet:
        run, tests, selection, named, others = plain
        chosen = Chosen(bytes.fromhex(tests), bytes.fromhex(selection), frozenset(named))
        return cls({key: bytes.fromhex(value) for key, value in run.items()}, chosen, bytes.fromhex(others))


def is_foreseen(config: pytest.Config, environ: Mapping[str, str]) -> bool:
    """Whether nothing will have to run, as far as that can be told before conftest files are loaded."""
    store = store_of(config)
    quiet = _read(store).get(_request(config))
    if quiet is None:
        return False
    settings, places = settings_of(config), Places.of(config.rootpath)
    table = read_table(store)
    world = open_memory(config, places, environ, quiet.run).world
    untrue = untrue_facts(table, world, quiet.chosen)
    standing = table.standing(untrue, time.time() - FRESH_SHARE * settings.ttl, quiet.chosen.selection)
    return standing.keys() == table.states.keys() and _others(config, places, standing) == quiet.others


class QuietPlugin:
    """Remembers that nothing ran, or forgets it. ``observed``: whether this run was."""

    def __init__(self, memory: Memory, results: ResultsPlugin, *, observed: bool) -> None:
        self._memory = memory
        self._results = results
        self._observed = observed

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        with harmless("observes the next run in any case"):
            if exitstatus != pytest.ExitCode.OK or self._results.results():
                _change(self._memory.store, _request(session.config), None)
            elif self._observed and not _is_open(session.config):
                self._remember(session.config)

    def _remember(self, config: pytest.Config) -> None:
        states = read_table(self._memory.store).states
        if not states.keys() >= {nodeid.partition("::")[0] for nodeid in self._results.verdicts}:
            return  # what a hit stands on is not in the table
        others = _others(config, self._memory.world.places, states)
        quiet = _Quiet(self._memory.world.run, chosen_by(config), others)
        _change(self._memory.store, _request(config), quiet)


def _change(store: Store, request: str, quiet: _Quiet | None) -> None:
    with store.transaction():
        known = _read(store)
        if known.pop(request, None) != quiet:
            added = {} if quiet is None else {request: quiet}
            kept = [*added.items(), *[*known.items()][: _KEPT - 1]]
            document = {asked: one.plain() for asked, one in kept}
            store.set(_QUIET, json.dumps(document, separators=(",", ":")).encode())


def _read(store: Store) -> dict[str, _Quiet]:
    """What is remembered, the newest first; nothing where it can not be read."""
    data = store.get(_QUIET)
    try:
        found = {} if data is None else json.loads(data)
        return {request: _Quiet.restored(plain) for request, plain in found.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _request(config: pytest.Config) -> str:
    """What is asked for, as far as it is known before conftest files are loaded."""
    plugins = sorted(
        f"{distribution.project_name} {distribution.version}"
        for _, distribution in config.pluginmanager.list_plugin_distinfo()
    )
    variables = sorted(
        (name, value)
        for name, value in os.environ.items()
        if name.startswith(_VARIABLES) and name != "PYTEST_CURRENT_TEST"
    )
    ini = fingerprint(config.inipath.read_bytes()).hex() if config.inipath is not None else ""
    invocation = config.invocation_params
    asked = (*map(str, invocation.args), str(invocation.dir), sys.version, repr(sys.flags), *plugins, *variables, ini)
    return fingerprint_text(repr(asked)).hex()


def _is_open(config: pytest.Config) -> bool:
    """Whether the same request may let other tests run though nothing changed.

    Because some are drawn or failed last time, or because tests come from other files than test modules, among which
    new ones would not be noticed.
    """
    names = ("doctestmodules", "doctestglob", "lf", "pyargs")
    return settings_of(config).verify > 0 or any(getattr(config.option, name, None) for name in names)


def _others(config: pytest.Config, places: Places, known: Container[str]) -> Fingerprint:
    """The test files of which no state is known, as they are now."""
    return fingerprint_text(repr(sorted(_signatures(config, places, known))))


def _signatures(config: pytest.Config, places: Places, known: Container[str]) -> Iterator[tuple[str, Signature | None]]:
    named = [str(name).partition("::")[0] for name in config.known_args_namespace.file_or_dir]
    bases = [places.relative(os.path.join(config.invocation_params.dir, name)) for name in named]
    for path in test_files(config, bases or ["."], places):
        if path not in known:
            yield path, Signature.of(places.root / path)
