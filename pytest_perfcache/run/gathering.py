"""What one process ran and collected, turned into records once, at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TypeAlias

import pytest

from pytest_perfcache.collect.sketch import EMPTY, Sketch
from pytest_perfcache.facts.distributions import Distributions
from pytest_perfcache.model import ModuleRecords, Told
from pytest_perfcache.run.collecting import SketchingPlugin
from pytest_perfcache.run.recording import RecordingPlugin, Run
from pytest_perfcache.run.saving import Harvest
from pytest_perfcache.run.settling import Collection
from pytest_perfcache.trace.tracing import Tracing
from pytest_perfcache.trace.unit import Touched

_Collected: TypeAlias = tuple[str, pytest.Module, list[pytest.Item], Sketch, Touched, Told | None]


class Gathered:
    """The runs and collections of this process."""

    def __init__(
        self, tracing: Tracing, sketching: SketchingPlugin, distributions: Callable[[], Distributions]
    ) -> None:
        self._tracing = tracing
        self._distributions = distributions
        self._sketching = sketching
        self._runs: list[Run] = []
        self.recording: RecordingPlugin | None = None

    def add(self, run: Run) -> None:
        self._runs.append(run)

    def runs(self) -> list[ModuleRecords]:
        self._collected  # noqa: B018  # names inputs, and the harvest settles these once
        return self._harvest.gather(self._runs)

    @cached_property
    def _collected(self) -> list[_Collected]:
        """The modules that were collected for real and whole, with what that touched."""
        if self.recording is None:
            return []
        made = self.recording.collection_of
        found: list[_Collected] = [
            (path, module, items, sketch, made(module, path), None)
            for path, module, items, sketch in self._sketching.modules()
        ]
        for path, module, skipped in self._sketching.skipped():
            found.append((path, module, [], EMPTY, made(module, path, skipped=True), skipped))
        return found

    def collections(self) -> Iterator[Collection]:
        """The modules that were collected for real and whole, but for those that can not be tracked."""
        for path, module, items, sketch, touched, skipped in self._collected:
            from pytest_perfcache.collect.sketching import entry_of

            facts = self._harvest.facts(touched)
            if facts is not None:
                yield Collection(
                    path=path,
                    facts=facts,
                    nodeids=tuple(item.nodeid for item in items),
                    sketch=sketch.to_bytes(),
                    entry=entry_of(module, self._tracing.places.relative, loaded=skipped is None),
                    parametrized=sketch.parametrized,
                    left_out=tuple(item.nodeid for item in self._sketching.left_out(items)),
                    located=tuple({item.path for item in sketch.items}),
                    made_at=time.time(),
                    named=module.session.isinitpath(module.path),
                    skipped=skipped,
                )

    def forget(self) -> None:
        """Nobody will ask again."""
        self._runs.clear()
        for name in ("_harvest", "_collected"):
            self.__dict__.pop(name, None)

    @cached_property
    def _harvest(self) -> Harvest:
        return Harvest(self._tracing, self._distributions())


def record(
    config: pytest.Config,
    tracing: Tracing,
    done: Callable[[Run], None] | None = None,
    distributions: Callable[[], Distributions] = Distributions,
    *,
    sketches: bool = True,
) -> Gathered:
    """Begin to gather; what single tests left goes to ``done``, where there is one.

    ``sketches``: whether those of the collected modules are wanted.
    """
    sketching = SketchingPlugin(config, tracing.places, wanted=sketches)
    gathered = Gathered(tracing, sketching, distributions)
    gathered.recording = RecordingPlugin(tracing, config, done or gathered.add)
    config.pluginmanager.register(gathered.recording, "perfcache-recording")
    config.pluginmanager.register(sketching, "perfcache-sketching")
    return gathered
