"""What one process ran and collected, turned into records once, at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import pytest

from pytest_perfcache.facts.distributions import Distributions
from pytest_perfcache.model import ModuleRecords
from pytest_perfcache.run.collecting import SketchingPlugin
from pytest_perfcache.run.recording import RecordingPlugin, Run
from pytest_perfcache.run.saving import Harvest
from pytest_perfcache.run.settling import Collection
from pytest_perfcache.trace.tracing import Tracing


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
        return self._harvest.gather(self._runs)

    def collections(self) -> Iterator[Collection]:
        """The modules that were collected for real and whole, but for those that can not be tracked."""
        for path, module, items, sketch in self._sketching.modules():
            from pytest_perfcache.collect.sketching import entry_of

            touched = self.recording.collection_of(module, path) if self.recording is not None else None
            facts = self._harvest.facts(touched) if touched is not None else None
            if facts is not None:
                yield Collection(
                    path=path,
                    facts=facts,
                    nodeids=tuple(item.nodeid for item in items),
                    sketch=sketch.to_bytes(),
                    entry=entry_of(module, self._tracing.places.relative),
                    parametrized=sketch.parametrized,
                    left_out=tuple(item.nodeid for item in self._sketching.left_out(items)),
                )

    def forget(self) -> None:
        """Nobody will ask again."""
        self._runs.clear()
        self.__dict__.pop("_harvest", None)

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
